"""Hard negatives: of all that an anchor may be told apart from, those that score high for it.

They teach more a negative than random ones, and are wrong more often. The very hardest have what the truth has in
common with them trained away: an encoder that knows nothing yet never starts (measured: UserBERT on MovieLens-1M, also
with three quarters of a batch). Those just below the truth leave it something to gain.

Shapes: N anchors, G candidates.
"""

from typing import Protocol

import torch
from torch import Tensor


class Choice(Protocol):
    """Picks so many of each anchor's negatives, all where it has fewer, `[N, G]`; `own_N` is where its truth stands."""

    def __call__(self, scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor: ...


def hardest(scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor:
    """Those that score highest (UserBERT's, Wu et al. 2021, within the batch)."""
    return _first(scores_NG.detach(), is_negative_NG, number)


def semi_hard(scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor:
    """Those that score highest below the truth, then the lowest above it (Schroff et al., CVPR 2015, section 3.2)."""
    above_NG = (scores_NG - scores_NG.gather(1, own_N[:, None])).detach()
    last = 2 * above_NG.abs().max()
    return _first(torch.where(above_NG > 0, -above_NG - last, above_NG), is_negative_NG, number)


def _first(keys_NG: Tensor, is_negative_NG: Tensor, number: int) -> Tensor:
    place_NK = keys_NG.masked_fill(~is_negative_NG, float("-inf")).topk(min(number, keys_NG.shape[1]), 1).indices
    return is_negative_NG & torch.zeros_like(is_negative_NG).scatter(1, place_NK, True)
