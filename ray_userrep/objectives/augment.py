"""Changes of a window: looks that a contrastive objective asks the user vector to be blind to, and what is hidden.

Shapes: B windows, T tokens.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ray_userrep.corpus import draws
from ray_userrep.feed.batch import MASK, START, TIMESTAMPS, Batch
from ray_userrep.feed.windows import DOMAIN_COLUMN
from ray_userrep.objectives.base import Draws

_START_DRAW, _TOKEN_DRAW = 16, 18  # and the one after, for the second look
_DOMAIN_DRAW = 21
PAIRED = "paired"  # label: whether a window has two looks to compare
_UNKNOWN, _TAKEN = 2.0, 3.0  # keys beyond those that are drawn


def subsequence(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A run of so large a share of each window, at least one item, from a random place."""
    first_B, kept_B = _span(batch, rng, look, share)
    place_T, window_T = batch.positions(), windows_of(batch)
    return keep(batch, (place_T >= first_B[window_T]) & (place_T < (first_B + kept_B)[window_T]))


def dropped(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """Each item left out with so large a chance, but for one of each window."""
    draw_T = rng.token_uniforms(_TOKEN_DRAW + look, batch)
    highest_B = draw_T.new_full((batch.num_users,), -1.0).scatter_reduce(0, windows_of(batch), draw_T, "amax")
    return keep(batch, (draw_T >= share) | (draw_T == highest_B[windows_of(batch)]))


def one_period(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """The first share of each window's items, or those after it: two periods of a user's time."""
    lengths_B = batch.lengths().long()
    assert (lengths_B > 1).all(), "two periods need two items"
    first_B = torch.minimum((lengths_B * share).round().long().clamp(min=1), lengths_B - 1)
    is_first_T = batch.positions() < first_B[windows_of(batch)]
    return keep(batch, ~is_first_T if look else is_first_T)


def one_domain(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """What a user did in one domain of the window, in another for the second look; both are drawn.

    A window of one domain, or none, shows the same twice, and is no pair.
    """
    window_T = windows_of(batch)
    users_T, start_T = (batch.per_token(x).numpy() for x in (batch.users_B, batch.labels[START]))
    domain_T = batch.side[DOMAIN_COLUMN]
    key_T = torch.from_numpy(draws.uniforms(_DOMAIN_DRAW, rng.seed, rng.epoch, users_T, start_T, domain_T.numpy()))
    key_T = key_T.masked_fill(domain_T == 0, _UNKNOWN)
    first_B = _lowest(key_T, window_T, batch.num_users)
    is_first_T = key_T == first_B[window_T]
    second_B = _lowest(key_T.masked_fill(is_first_T, _TAKEN), window_T, batch.num_users)
    is_pair_B = second_B < _UNKNOWN
    is_second_T = torch.where(is_pair_B, second_B, first_B)[window_T] == key_T
    kept = keep(batch, is_second_T if look else is_first_T)
    return replace(kept, labels=kept.labels | {PAIRED: is_pair_B})


def masked(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A share of the items hidden."""
    return hide(batch, rng.token_uniforms(_TOKEN_DRAW + look, batch) < share)


def permuted(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A run of so large a share of each window put into random order; times stay where they are."""
    moved = shuffled(batch, rng, look, share)
    times = {name: column for name, column in batch.side.items() if name == TIMESTAMPS}
    return replace(moved, side=moved.side | times)


def shuffled(batch: Batch, rng: Draws, look: int, share: float) -> Batch:
    """A run of so large a share of each window put into random order, with everything known of its items."""
    first_B, kept_B = _span(batch, rng, look, share)
    place_T = batch.positions().double()
    window_T = windows_of(batch)
    is_moved_T = (place_T >= first_B[window_T]) & (place_T < (first_B + kept_B)[window_T])
    drawn_T = first_B[window_T] + rng.token_uniforms(_TOKEN_DRAW + look, batch) * (kept_B[window_T] - 1).clamp(min=0)
    key_T = torch.where(is_moved_T, drawn_T, place_T) + window_T * (batch.max_len + 1.0)
    order_T = torch.argsort(key_T, stable=True)
    side = {name: column[order_T] for name, column in batch.side.items()}
    return replace(batch, values_T=batch.values_T[order_T], side=side)


def hide(batch: Batch, is_hidden_T: Tensor) -> Batch:
    """The batch with some items hidden, and their side columns unknown but for the time."""
    side = {}
    for name, column_T in batch.side.items():
        unknown = float("nan") if column_T.is_floating_point() else 0
        side[name] = column_T if name == TIMESTAMPS else column_T.masked_fill(is_hidden_T, unknown)
    return replace(batch, values_T=batch.values_T.masked_fill(is_hidden_T, MASK), side=side)


def without_times(batch: Batch, is_hidden_T: Tensor) -> Batch:
    """The batch with the time of each hidden item replaced by that of the shown one before it, as a reader has it.

    A window's first items take the time of the first one shown; where all are hidden, time is the epoch.
    """
    place_T, window_T = torch.arange(batch.num_tokens), windows_of(batch)
    before_T = torch.where(is_hidden_T, -1, place_T).cummax(0).values
    after_T = torch.where(is_hidden_T, batch.num_tokens, place_T).flip(0).cummin(0).values.flip(0)
    first_T, end_T = batch.offsets_B1[:-1].long()[window_T], batch.offsets_B1[1:].long()[window_T]
    source_T = torch.where(before_T >= first_T, before_T, after_T)
    times_T = batch.side[TIMESTAMPS][source_T.clamp(max=batch.num_tokens - 1)]
    return replace(batch, side=batch.side | {TIMESTAMPS: times_T.masked_fill(source_T >= end_T, 0)})


def keep(batch: Batch, is_kept_T: Tensor) -> Batch:
    """The batch with these tokens alone, at least one of each window."""
    kept_B = torch.zeros(batch.num_users, dtype=torch.long).index_add(0, windows_of(batch), is_kept_T.long())
    offsets_B1 = torch.cat([kept_B.new_zeros(1), kept_B.cumsum(0)]).to(batch.offsets_B1.dtype)
    return replace(
        batch,
        values_T=batch.values_T[is_kept_T],
        offsets_B1=offsets_B1,
        max_len=int(kept_B.max()),
        side={name: column[is_kept_T] for name, column in batch.side.items()},
    )


def windows_of(batch: Batch) -> Tensor:
    """The window of each token, `[T]`."""
    return batch.per_token(torch.arange(batch.num_users))


def _lowest(key_T: Tensor, window_T: Tensor, num_windows: int) -> Tensor:
    return key_T.new_full((num_windows,), _TAKEN).scatter_reduce(0, window_T, key_T, "amin")


def _span(batch: Batch, rng: Draws, look: int, share: float) -> tuple[Tensor, Tensor]:
    """First place and length of a random run in each window, `[B]` each."""
    lengths_B = batch.lengths().long()
    kept_B = (lengths_B * share).round().long().clamp(min=1)
    free_B = lengths_B - kept_B + 1
    return (rng.window_uniforms(_START_DRAW + look, batch) * free_B).long(), kept_B
