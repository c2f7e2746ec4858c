"""Hard negatives: of all that an anchor may be told apart from, those that score highest for it.

They teach more a negative than random ones, and are wrong more often; what bounds how hard they get is the pool, the
global batch (the medium-hard negatives of UserBERT, Wu et al. 2021).

Shapes: N anchors, G candidates.
"""

import torch
from torch import Tensor


def hardest(scores_NG: Tensor, is_negative_NG: Tensor, number: int) -> Tensor:
    """So many of each anchor's negatives, all where it has fewer, `[N, G]`."""
    found_NG = scores_NG.detach().masked_fill(~is_negative_NG, float("-inf"))
    place_NK = found_NG.topk(min(number, found_NG.shape[1]), 1).indices
    return is_negative_NG & torch.zeros_like(is_negative_NG).scatter(1, place_NK, True)
