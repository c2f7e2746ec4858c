"""Windows side by side as long as the longest may be: what a graph is given that has to do for every batch.

Elsewhere nothing is padded, and how a batch is cut up is worked out for each anew, which an exported graph cannot do.
It pays with the time of full windows.

Shapes: T tokens, B windows, S places of a window, none of which is empty.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ray_userrep.feed.batch import Batch


class Padded(NamedTuple):
    """Which token is at each place, the last one behind the end; whether one is there; where each token is, `[T]`."""

    source_BS: Tensor
    is_there_BS: Tensor
    place_T: Tensor


def padded(batch: Batch) -> Padded:
    """Where a batch's tokens are in windows of `max_len` places."""
    lengths_B1, place_S = batch.lengths()[:, None], torch.arange(batch.max_len, device=batch.values_T.device)
    source_BS = batch.offsets_B1[:-1, None] + torch.minimum(place_S, lengths_B1 - 1)
    windows_B = torch.arange(batch.offsets_B1.shape[0] - 1, device=place_S.device)
    return Padded(
        source_BS.long(), place_S < lengths_B1, batch.per_token(windows_B) * batch.max_len + batch.positions()
    )
