"""Two looks at the same window: the changes that a contrastive objective asks the user vector to be blind to.

Shapes: B windows, T tokens.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ray_userrep.corpus.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.autoencoding import hide
from ray_userrep.objectives.base import Draws

_START_DRAW, _TOKEN_DRAW = 16, 18  # and the one after, for the second look


def subsequence(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A run of so large a share of each window, at least one item, from a random place."""
    first_B, kept_B = _span(batch, rng, look, share)
    place_T = _places(batch)
    window_T = torch.arange(batch.num_users).repeat_interleave(batch.lengths())
    is_kept_T = (place_T >= first_B[window_T]) & (place_T < (first_B + kept_B)[window_T])
    offsets_B1 = torch.cat([kept_B.new_zeros(1), kept_B.cumsum(0)]).to(batch.offsets_B1.dtype)
    return replace(
        batch,
        values_T=batch.values_T[is_kept_T],
        offsets_B1=offsets_B1,
        max_len=int(kept_B.max()),
        side={name: column[is_kept_T] for name, column in batch.side.items()},
    )


def masked(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A share of the items hidden."""
    return hide(batch, rng.token_uniforms(_TOKEN_DRAW + look, batch) < share)


def permuted(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A run of so large a share of each window put into random order; times stay where they are."""
    first_B, kept_B = _span(batch, rng, look, share)
    place_T = _places(batch).double()
    window_T = torch.arange(batch.num_users).repeat_interleave(batch.lengths())
    is_moved_T = (place_T >= first_B[window_T]) & (place_T < (first_B + kept_B)[window_T])
    drawn_T = first_B[window_T] + rng.token_uniforms(_TOKEN_DRAW + look, batch) * (kept_B[window_T] - 1).clamp(min=0)
    key_T = torch.where(is_moved_T, drawn_T, place_T) + window_T * (batch.max_len + 1.0)
    order_T = torch.argsort(key_T, stable=True)
    side = {name: column if name == TIMESTAMPS else column[order_T] for name, column in batch.side.items()}
    return replace(batch, values_T=batch.values_T[order_T], side=side)


def _span(batch: Batch, rng: Draws, look: int, share: float) -> tuple[Tensor, Tensor]:
    """First place and length of a random run in each window, `[B]` each."""
    lengths_B = batch.lengths().long()
    kept_B = (lengths_B * share).round().long().clamp(min=1)
    free_B = lengths_B - kept_B + 1
    return (rng.window_uniforms(_START_DRAW + look, batch) * free_B).long(), kept_B


def _places(batch: Batch) -> Tensor:
    return torch.arange(batch.num_tokens) - batch.offsets_B1[:-1].long().repeat_interleave(batch.lengths())
