"""The users of a synthetic log, their interactions, and when they took place.

Users stand in the order of their lengths, which follow a Pareto law whose integral has a closed form: who the users of
a piece of work are, and which of the log's random numbers are theirs, needs no other piece. All of a user is drawn at
once, so that the longest user has to fit in memory.

Shapes: N interactions, U users.
"""

from datetime import UTC, datetime, time
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from ray_userrep.logs.synthetic.planted import Planted, Scatter, positions
from ray_userrep.recipe.logs import SyntheticConfig

DAY_US = 86_400_000_000
# What a stream of random numbers is for; each is counted by interaction or user, so that any part of it can be had.
_STEP, _PRODUCT, _VARIANT, _GAP, _ARRIVAL = range(5)
_PER_COUNT = 4  # numbers that the generator makes at once
_BURSTS = 0.8  # 1 / Pareto exponent of the time between interactions: sessions, and long absences
_LONGEST_GAP, _GAP_STEPS = 1e5, 1024

Ints = NDArray[np.int64]


class UserBlock(NamedTuple):
    """The interactions of some users, in order."""

    user_ids_U: Ints
    offsets_U1: Ints
    item_ids_N: Ints
    interest_N: Ints
    times_N: Ints  # us since the epoch, strictly increasing in a user


def block_bounds(config: SyntheticConfig) -> list[int]:
    """Which users, by rank, are in which piece of work: pieces of about as many interactions."""
    wanted = np.arange(1, config.files) * config.interactions // config.files
    bounds = [0, *(_rank_at(config, int(count)) for count in wanted), config.users]
    return np.maximum.accumulate(bounds).tolist()


def interactions_before(config: SyntheticConfig, rank_U: Ints) -> Ints:
    """How many interactions all users of lower rank have together; users of higher rank have more of them."""
    spread = config.interactions - config.users * config.min_length
    share_U = 1 - (1 - rank_U / config.users) ** (1 - 1 / config.length_exponent)
    return config.min_length * rank_U + np.rint(spread * share_U).astype(np.int64)


def draw_users(config: SyntheticConfig, first: int, end: int) -> UserBlock:
    """All interactions of the users whose rank is in [first, end)."""
    rank_U1 = np.arange(first, end + 1)
    before_U1 = interactions_before(config, rank_U1)
    offsets_U1 = before_U1 - before_U1[0]
    process = Planted(config)
    position_N = positions(offsets_U1)
    drawn = (_uniforms(config, stream, before_U1[0], offsets_U1[-1]) for stream in (_STEP, _PRODUCT, _VARIANT))
    parts = process.draw(position_N, *drawn)
    return UserBlock(
        user_ids_U=Scatter.of(config.users, config.seed).forth(rank_U1[:-1]),
        offsets_U1=offsets_U1,
        item_ids_N=process.item_ids(parts),
        interest_N=parts.interest_N,
        times_N=_times(config, first, before_U1[0], offsets_U1, position_N),
    )


def _rank_at(config: SyntheticConfig, count: int) -> int:
    """The first rank that has at least so many interactions before it."""
    low, high = 0, config.users
    while low < high:
        middle = (low + high) // 2
        enough = interactions_before(config, np.array(middle)) >= count
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def _times(config: SyntheticConfig, first: int, before: int, offsets_U1: Ints, position_N: Ints) -> Ints:
    """Users arrive during the first half of the log and stay, in bursts, to its end."""
    lengths_U = np.diff(offsets_U1)
    total = config.days * DAY_US
    arrival_U = (_uniforms(config, _ARRIVAL, first, len(lengths_U)) * (total / 2)).astype(np.int64)
    gap_N = np.minimum((1 - _uniforms(config, _GAP, before, offsets_U1[-1])) ** -_BURSTS, _LONGEST_GAP)
    # Whole numbers add up to the same wherever a block begins.
    until_N1 = np.concatenate([[0], np.cumsum((gap_N * _GAP_STEPS).astype(np.int64))])
    began_U, all_U = until_N1[offsets_U1[:-1]], np.diff(until_N1[offsets_U1])
    share_N = (until_N1[:-1] - np.repeat(began_U, lengths_U)) / np.repeat(all_U, lengths_U)
    stay_N = share_N * np.repeat(total - arrival_U - lengths_U, lengths_U)
    # One microsecond more for each interaction, so that none coincide.
    return _start_us(config) + np.repeat(arrival_U, lengths_U) + stay_N.astype(np.int64) + position_N


def _start_us(config: SyntheticConfig) -> int:
    return int(datetime.combine(config.start, time(), UTC).timestamp()) * 1_000_000


def _uniforms(config: SyntheticConfig, stream: int, start: int, count: int) -> NDArray[np.float64]:
    """Numbers [start, start + count) of a stream."""
    source = Philox(key=[config.seed, stream])
    source.advance(int(start) // _PER_COUNT)
    skipped = int(start) % _PER_COUNT
    return Generator(source).random(skipped + count)[skipped:]
