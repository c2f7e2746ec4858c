"""Splits as rules applied when a bucket is read: nothing is copied, every metric carries the rule's fingerprint.

What a user did is cut at positions; held-out items are also taken out of what lies before them. A rule says both, so
that what is trained on, what is known of a user and what is predicted come from one place.

Shapes: U users of a bucket, N their interactions, W targets, V items.
"""

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple, Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import (
    ColdItemConfig,
    ColdUserConfig,
    GlobalTimeConfig,
    LeaveKOutConfig,
    LeaveOneOutConfig,
    SplitConfig,
)

NONE = -1
TRAIN, _VALID, _TEST = 0, 1, 2
_HELD_OUT, _SAMPLED = 9, 10  # what a draw is for

SplitPart = Literal["valid", "test"]


class CutPositions(NamedTuple):
    """Where a bucket's users are cut, as positions inside each user's sequence.

    Training is `[0, train_end)`; a target is predicted from everything before it, `NONE` where a user has none;
    `[0, before_test)` is what is known when the test begins, `[0, learned)` what may be learned from by then.
    """

    train_end_U: NDArray[np.int64]
    valid_U: NDArray[np.int64]
    test_U: NDArray[np.int64]
    before_test_U: NDArray[np.int64]
    learned_U: NDArray[np.int64]
    num_targets: int = 1  # so many interactions in a row are targets, from the positions on

    def targets(self, part: SplitPart) -> NDArray[np.int64]:
        """Where each user's first target of a part is, `NONE` where there is none."""
        return self.valid_U if part == "valid" else self.test_U


class Cut(Protocol):
    """What windows are cut from: a split, or a part of its users."""

    def training(self, bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        """What windows are cut from, and how much of each user is trained on; rows are the bucket's."""
        ...

    def train_lengths(self, corpus: Corpus, number: int) -> NDArray[np.int64]:
        """How much of each user of a bucket is trained on, as `training` says."""
        ...


class Split(NamedTuple):
    """A rule made concrete for one corpus version."""

    config: SplitConfig
    valid_from: int = 0  # us since the epoch; 0 where the rule needs no time
    test_from: int = 0
    part_V: NDArray[np.int8] | None = None  # cold_item: which part each item is held out for
    user_share: float = 1.0  # of the users trained on

    def positions(self, bucket: Bucket) -> CutPositions:
        """Cut the users of one bucket."""
        match self.config:
            case LeaveOneOutConfig():
                return _leave_out(bucket.lengths_U, 1)
            case LeaveKOutConfig(k=k):
                return _leave_out(bucket.lengths_U, k)
            case GlobalTimeConfig():
                return _global_time(bucket, self.valid_from, self.test_from)
            case ColdUserConfig():
                return _cold_user(bucket, self.config)
            case ColdItemConfig():
                assert self.part_V is not None
                return _cold_item(bucket, self.part_V)
            case never:
                assert_never(never)

    def training(self, bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        """What windows are cut from, and how much of each user is trained on; rows are the bucket's."""
        is_sampled_U = draws.uniforms(_SAMPLED, bucket.user_hash_U) < self.user_share
        train_end_U = np.where(is_sampled_U, self.positions(bucket).train_end_U, 0)
        if self.part_V is None:
            return bucket, train_end_U
        kept = self.heads(bucket, np.arange(bucket.num_users), train_end_U)
        return kept, kept.lengths_U

    def train_lengths(self, corpus: Corpus, number: int) -> NDArray[np.int64]:
        """How much of each user of a bucket is trained on; sequences are read only where items are held out."""
        return self.training(self.outline(corpus, number))[1]

    def trained_lengths(self, manifest: Manifest) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """How much of a user is trained on and of how many users, by the corpus's own counts; None where these do not
        tell, as the rule goes by more than lengths or a share of the users is left out.
        """
        if self.user_share < 1:
            return None
        counts = manifest.users_per_length
        lengths_K, users_K = (np.array(list(of), np.int64) for of in (counts.keys(), counts.values()))
        match self.config:
            case LeaveOneOutConfig():
                return _leave_out(lengths_K, 1).train_end_U, users_K
            case LeaveKOutConfig(k=k):
                return _leave_out(lengths_K, k).train_end_U, users_K
            case GlobalTimeConfig() | ColdUserConfig() | ColdItemConfig():
                return None
            case never:
                assert_never(never)

    def num_asked(self, corpus: Corpus, number: int, part: SplitPart) -> int:
        """How many users of a bucket have a target; sequences are read only where items are held out."""
        return int((self.positions(self.outline(corpus, number)).targets(part) != NONE).sum())

    def outline(self, corpus: Corpus, number: int) -> Bucket:
        """As much of a bucket as it takes to know how its users are cut."""
        if self.part_V is not None:
            return corpus.bucket(number)
        return corpus.outline(number, days=isinstance(self.config, GlobalTimeConfig))

    def learned(self, bucket: Bucket, before: SplitPart) -> Bucket:
        """The interactions that may be learned from before a part's targets."""
        cut = self.positions(bucket)
        ends_U = cut.train_end_U if before == "valid" else cut.learned_U
        return self.heads(bucket, np.arange(bucket.num_users), ends_U)

    def known(self, bucket: Bucket) -> Bucket:
        """What is known of every user when the test begins."""
        return self.heads(bucket, np.arange(bucket.num_users), self.positions(bucket).before_test_U)

    def targets(self, bucket: Bucket, part: SplitPart) -> tuple[Bucket, NDArray[np.int64]]:
        """A part's targets, `[W]` item indices, each with what its user did before it as a user of its own."""
        cut = self.positions(bucket)
        first_U = cut.targets(part)
        row_W = np.repeat(np.flatnonzero(first_U != NONE), cut.num_targets)
        place_W = first_U[row_W] + np.tile(np.arange(cut.num_targets), len(row_W) // cut.num_targets)
        return self.heads(bucket, row_W, place_W), bucket.items_N[bucket.offsets_U1[row_W] + place_W]

    def heads(self, bucket: Bucket, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Bucket:
        """The given users' first interactions, without items that are held out."""
        heads = bucket.heads(rows, lengths)
        return heads if self.part_V is None else heads.filter(self.part_V[heads.items_N] == TRAIN)

    def fingerprint(self, manifest: Manifest, exclude_seen: bool) -> str:
        """What a metric must share to be compared: rule, content and the policy on items already seen."""
        key = [
            self.config.model_dump(mode="json"),
            self.valid_from,
            self.test_from,
            manifest.content_fingerprint,
            exclude_seen,
        ]
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def resolve(config: SplitConfig, corpus: Corpus, user_share: float = 1.0) -> Split:
    """The rule with what it needs to know of the corpus: cut times, which fall on midnights (UTC), or held-out items.

    A share of the users changes what is trained on, never what is measured.

    Raises:
        UserError: the log has no times, or is too short in time, for a global-time split.
    """
    match config:
        case GlobalTimeConfig():
            corpus.manifest.require_times("split.rule global_time")
            return Split(config, *_cut_times(config, corpus.manifest), user_share=user_share)
        case ColdItemConfig():
            return Split(config, part_V=_parts(hash_ids(corpus.items().ids), config), user_share=user_share)
        case LeaveOneOutConfig() | LeaveKOutConfig() | ColdUserConfig():
            return Split(config, user_share=user_share)
        case never:
            assert_never(never)


def _cut_times(config: GlobalTimeConfig, manifest: Manifest) -> tuple[int, int]:
    days = sorted(manifest.interactions_per_day)
    until = np.cumsum([manifest.interactions_per_day[d] for d in days])
    # Half an interaction less, so that a share that falls on a midnight is not lost to rounding.
    first_after = lambda share: int(np.searchsorted(until, share * until[-1] - 0.5)) + 1  # noqa: E731
    if config.test_from is None:
        first_test, before = first_after(1 - config.test_share), 1 - config.test_share
    else:
        first_test = int(np.searchsorted(days, config.test_from.isoformat()))
        before = until[first_test - 1] / until[-1] if first_test else 0.0
    first_valid = first_after(before - config.valid_share)
    if not 0 < first_valid < first_test < len(days):
        field = "split.test_share" if config.test_from is None else f"split.test_from {config.test_from}"
        raise UserError(
            f"split.rule global_time: {len(days)} days from {days[0]} to {days[-1]} cannot be cut into training, "
            f"validation and test; use leave_one_out, or change split.valid_share and {field}"
        )
    test_day = days[first_test] if config.test_from is None else config.test_from.isoformat()
    return _midnight_us(days[first_valid]), _midnight_us(test_day)


def _midnight_us(day: str) -> int:
    moment = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    return int(moment.timestamp()) * 1_000_000


def _leave_out(lengths_U: NDArray[np.int64], k: int) -> CutPositions:
    # Users who have nothing left to learn from once both parts are held out only train.
    held_out = lengths_U >= 2 * k + 1
    before_test_U = np.where(held_out, lengths_U - k, lengths_U)
    return CutPositions(
        train_end_U=np.where(held_out, lengths_U - 2 * k, lengths_U),
        valid_U=np.where(held_out, lengths_U - 2 * k, NONE),
        test_U=np.where(held_out, lengths_U - k, NONE),
        before_test_U=before_test_U,
        learned_U=before_test_U,
        num_targets=k,
    )


def _global_time(bucket: Bucket, valid_from: int, test_from: int) -> CutPositions:
    train_end = bucket.counts(bucket.timestamps_N < valid_from)
    test_start = bucket.counts(bucket.timestamps_N < test_from)
    # The first interaction of a period is the target; a user without history before it has nothing to predict from.
    valid = np.where((train_end > 0) & (train_end < test_start), train_end, NONE)
    test = np.where((test_start > 0) & (test_start < bucket.lengths_U), test_start, NONE)
    return CutPositions(train_end, valid, test, test_start, test_start)


def _cold_user(bucket: Bucket, config: ColdUserConfig) -> CutPositions:
    part_U, lengths_U = _parts(bucket.user_hash_U, config), bucket.lengths_U
    known_U = lengths_U - 1 if config.max_known is None else np.minimum(lengths_U - 1, config.max_known)
    asked_U = np.where(lengths_U >= 2, known_U, NONE)
    test_U = np.where(part_U == _TEST, asked_U, NONE)
    train_end_U = np.where(part_U == TRAIN, lengths_U, 0)
    return CutPositions(
        train_end_U=train_end_U,
        valid_U=np.where(part_U == _VALID, asked_U, NONE),
        test_U=test_U,
        before_test_U=np.where(test_U != NONE, test_U, lengths_U),
        learned_U=train_end_U,
    )


def _cold_item(bucket: Bucket, part_V: NDArray[np.int8]) -> CutPositions:
    part_N, lengths_U = part_V[bucket.items_N], bucket.lengths_U
    start_N = np.repeat(bucket.offsets_U1[:-1], lengths_U)
    known_N1 = np.concatenate([[0], np.cumsum(part_N == TRAIN)])
    has_history_N = known_N1[:-1] > known_N1[start_N]
    user_N, place_N = np.repeat(np.arange(bucket.num_users), lengths_U), np.arange(len(part_N)) - start_N
    valid_U, test_U = np.full((2, bucket.num_users), NONE)
    for target_U, part in ((valid_U, _VALID), (test_U, _TEST)):
        is_target_N = (part_N == part) & has_history_N
        target_U[user_N[is_target_N]] = place_N[is_target_N]  # of several, the last is kept
    return CutPositions(lengths_U, valid_U, test_U, before_test_U=lengths_U, learned_U=lengths_U)


def _parts(hashes: NDArray[np.int64], config: ColdUserConfig | ColdItemConfig) -> NDArray[np.int8]:
    """Which part each user or item is held out for, by a hash: the same in every version of a corpus."""
    draw = draws.uniforms(_HELD_OUT, config.seed, hashes)
    is_held_out = draw < config.test_share + config.valid_share
    return np.where(draw < config.test_share, _TEST, np.where(is_held_out, _VALID, TRAIN)).astype(np.int8)
