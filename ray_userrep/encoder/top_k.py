"""The likeliest next items of users, and the items most alike, by scores of the whole catalogue.

Nothing is approximated: some users at a time are scored against every item, which takes memory for that many scores and
time that grows with the catalogue.

Shapes: B users, N interactions of all of them, V items, D width, K of the best.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.errors import UserError

_CHUNK_SCORES = 2**24


class Top(NamedTuple):
    """Indices and scores of the best of each row, best first, `[B, K]`; -inf where there is none."""

    indices_BK: NDArray[np.int64]
    scores_BK: NDArray[np.float32]

    def lists(self, ids: pa.Array) -> tuple[pa.ListArray, pa.ListArray]:
        """Ids and scores of each row, without those that are none."""
        is_there_BK = np.isfinite(self.scores_BK)
        offsets = pa.array(np.concatenate([[0], np.cumsum(is_there_BK.sum(1))]).astype(np.int32))
        found = ids.take(pa.array(self.indices_BK[is_there_BK]))
        return tuple(
            pa.ListArray.from_arrays(offsets, values) for values in (found, pa.array(self.scores_BK[is_there_BK]))
        )


def best_items(
    vectors_BD: Tensor, table_VD: Tensor, k: int, hidden_N: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Top:
    """The items whose vectors have the greatest products with each vector, but for the hidden (row, item) pairs.

    Raises:
        UserError: there are not so many items.
    """
    refuse_beyond(k, len(table_VD))
    rows_N, items_N = hidden_N
    order = np.argsort(rows_N, kind="stable")
    rows_N, items_N = rows_N[order], items_N[order]
    step = max(1, _CHUNK_SCORES // len(table_VD))
    found = [
        _best(vectors_BD[first : first + step], table_VD, k, _between(rows_N, items_N, first, first + step))
        for first in range(0, len(vectors_BD), step)
    ]
    none = (np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
    return Top(*(np.concatenate(parts) for parts in zip(none, *found, strict=True)))


def refuse_beyond(k: int, number: int) -> None:
    """Refuse to name more than so many.

    Raises:
        UserError: `k` is more, or less than one.
    """
    if not 1 <= k <= number:
        raise UserError(f"k: takes 1 to {number:,}, as many as there are (given {k!r})")


def most_alike(table_VD: Tensor, rows: NDArray[np.int64], k: int) -> Top:
    """The items of the greatest cosines with each of these, themselves left out."""
    unit_VD = F.normalize(table_VD, dim=1)
    return best_items(unit_VD[torch.from_numpy(rows)], unit_VD, k, (np.arange(len(rows)), rows))


def _best(vectors_BD: Tensor, table_VD: Tensor, k: int, hidden: tuple[Tensor, Tensor]) -> Top:
    scores_BV = vectors_BD @ table_VD.T
    scores_BV[hidden] = -torch.inf
    scores_BK, indices_BK = scores_BV.topk(k, dim=1)
    return Top(indices_BK.cpu().numpy(), scores_BK.cpu().numpy())


def _between(rows_N: NDArray[np.int64], items_N: NDArray[np.int64], first: int, last: int) -> tuple[Tensor, Tensor]:
    low, high = np.searchsorted(rows_N, [first, last])
    return torch.from_numpy(rows_N[low:high] - first), torch.from_numpy(items_N[low:high])
