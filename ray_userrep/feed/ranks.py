"""Ranks as those that read a log together: each counts its share of the buckets, and all get the sums."""

from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Count = TypeVar("Count", bound=np.integer)


class Ranks(Protocol):
    """Those that train together."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int: ...

    def total(self, counts: NDArray[Count]) -> NDArray[Count]:
        """The sums of each rank's counts; all ranks have to ask."""
        ...


class _Alone(NamedTuple):
    """The only one."""

    rank: int = 0
    world: int = 1

    def total(self, counts: NDArray[Count]) -> NDArray[Count]:
        """The counts as they are."""
        return counts


ALONE: Ranks = _Alone()


def share_of(ranks: Ranks, num_buckets: int) -> range:
    """The buckets that are a rank's to count."""
    return range(ranks.rank, num_buckets, ranks.world)
