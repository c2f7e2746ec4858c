"""Splits as rules applied when a bucket is read: nothing is copied, every metric carries the rule's fingerprint.

Shapes: U users of a bucket, N their interactions.
"""

import hashlib
import json
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.config import SplitConfig
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.errors import UserError

NONE = -1


class Positions(NamedTuple):
    """Where a bucket's users are cut, as positions inside each user's sequence.

    Training is `[0, train_end)`; a target is predicted from everything before it, `NONE` where a user has none;
    `[0, before_test)` is what is known when the test begins.
    """

    train_end_U: NDArray[np.int64]
    valid_U: NDArray[np.int64]
    test_U: NDArray[np.int64]
    before_test_U: NDArray[np.int64]


class Split(NamedTuple):
    """A rule made concrete for one corpus version."""

    config: SplitConfig
    valid_from: int  # us since the epoch; 0 where the rule needs no time
    test_from: int

    def positions(self, offsets_U1: NDArray[np.int64], timestamps_N: NDArray[np.int64]) -> Positions:
        """Cut the users of one bucket."""
        if self.config.rule == "leave_one_out":
            return _leave_one_out(np.diff(offsets_U1))
        return _global_time(offsets_U1, timestamps_N, self.valid_from, self.test_from)

    def fingerprint(self, manifest: Manifest, exclude_seen: bool) -> str:
        """What a metric must share to be compared: rule, content and the policy on items already seen."""
        key = [self.config.model_dump(), self.valid_from, self.test_from, manifest.content_fingerprint, exclude_seen]
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def resolve(config: SplitConfig, manifest: Manifest) -> Split:
    """The rule with its cut times, which fall on midnights (UTC).

    Raises:
        UserError: the log is too short in time for a global-time split.
    """
    if config.rule == "leave_one_out":
        return Split(config, 0, 0)
    days = sorted(manifest.interactions_per_day)
    until = np.cumsum([manifest.interactions_per_day[d] for d in days])
    # Half an interaction less, so that a share that falls on a midnight is not lost to rounding.
    first_after = lambda share: int(np.searchsorted(until, share * manifest.num_interactions - 0.5)) + 1  # noqa: E731
    first_valid = first_after(1 - config.valid_share - config.test_share)
    first_test = first_after(1 - config.test_share)
    if not first_valid < first_test < len(days):
        raise UserError(
            f"split.rule global_time: {len(days)} days from {days[0]} to {days[-1]} cannot be cut into training, "
            f"validation and test; use leave_one_out, or change split.valid_share and split.test_share"
        )
    return Split(config, _midnight_us(days[first_valid]), _midnight_us(days[first_test]))


def _midnight_us(day: str) -> int:
    moment = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    return int(moment.timestamp()) * 1_000_000


def _leave_one_out(lengths_U: NDArray[np.int64]) -> Positions:
    # Users with fewer than three interactions have nothing to learn from once two are held out: they only train.
    held_out = lengths_U >= 3
    return Positions(
        train_end_U=np.where(held_out, lengths_U - 2, lengths_U),
        valid_U=np.where(held_out, lengths_U - 2, NONE),
        test_U=np.where(held_out, lengths_U - 1, NONE),
        before_test_U=np.where(held_out, lengths_U - 1, lengths_U),
    )


def _global_time(
    offsets_U1: NDArray[np.int64], timestamps_N: NDArray[np.int64], valid_from: int, test_from: int
) -> Positions:
    train_end = _counts_before(timestamps_N, offsets_U1, valid_from)
    test_start = _counts_before(timestamps_N, offsets_U1, test_from)
    lengths = np.diff(offsets_U1)
    # The first interaction of a period is the target; a user without history before it has nothing to predict from.
    valid = np.where((train_end > 0) & (train_end < test_start), train_end, NONE)
    test = np.where((test_start > 0) & (test_start < lengths), test_start, NONE)
    return Positions(train_end, valid, test, test_start)


def _counts_before(timestamps_N: NDArray[np.int64], offsets_U1: NDArray[np.int64], cut: int) -> NDArray[np.int64]:
    earlier = np.concatenate([[0], np.cumsum(timestamps_N < cut)])
    return earlier[offsets_U1[1:]] - earlier[offsets_U1[:-1]]
