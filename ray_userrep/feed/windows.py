"""Windows: which part of whose sequence, by reference.

Shapes: U users of a bucket, W windows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges


class Windows(NamedTuple):
    """References to windows: bucket, user row in it, first item, number of items."""

    bucket_W: NDArray[np.int64]
    row_W: NDArray[np.int64]
    start_W: NDArray[np.int64]
    length_W: NDArray[np.int64]

    def take(self, index: NDArray[np.integer] | slice) -> "Windows":
        return Windows(*(column[index] for column in self))

    @staticmethod
    def concat(parts: Sequence["Windows"]) -> "Windows":
        return Windows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def tiles(targets_U: NDArray[np.int64], max_len: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut every user's targets into windows from the newest back: (user row, first item, targets) of each."""
    tiles_U = -(-targets_U // max_len)
    row_W = np.repeat(np.arange(len(targets_U)), tiles_U)
    tile_W = ranges(np.zeros(len(targets_U), np.int64), tiles_U)
    end_W = targets_U[row_W] - tile_W * max_len
    start_W = np.maximum(end_W - max_len, 0)
    return row_W, start_W, end_W - start_W
