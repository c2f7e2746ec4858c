"""Whether pretraining has seen what a task asks about: checked user by user, by time.

An encoder that was trained on what a user did after the task's test begins for them has seen the future; a history that
reaches into what pretraining held out for its own test would spend those figures. Equal times are no overlap, as many
logs have only days.

Shapes: U users.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.splits import NONE, Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.feed.stream import train_counts
from ray_userrep.recipe.logs import Order
from ray_userrep.recipe.objective import LabelsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import TaskConfig


class Pretrained(NamedTuple):
    """For each user of the pretraining log, sorted by hash: times (us) of the newest interaction trained on and of the
    first one held out for test; the ends of time where there is none."""

    users_U: NDArray[np.int64]
    until_U: NDArray[np.int64]
    test_from_U: NDArray[np.int64]
    content: str  # of the log
    order: Order

    def without_test(self) -> "Pretrained":
        """The same for tasks that say themselves until when a user is known, which may be in pretraining's test."""
        return self._replace(test_from_U=np.full_like(self.test_from_U, np.iinfo(np.int64).max))


def read_pretrained(corpus: Corpus, split: Split) -> Pretrained:
    """What pretraining on a split saw of each user; reads every bucket once."""
    never = np.iinfo(np.int64)
    columns: list[tuple[NDArray[np.int64], ...]] = [(np.zeros(0, np.int64),) * 3]
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        cut, starts_U = split.positions(bucket), bucket.offsets_U1[:-1]
        until_U = np.full(bucket.num_users, never.min)
        trained, tested = cut.train_end_U > 0, cut.test_U != NONE
        until_U[trained] = bucket.timestamps_N[(starts_U + cut.train_end_U - 1)[trained]]
        test_from_U = np.full(bucket.num_users, never.max)
        test_from_U[tested] = bucket.timestamps_N[(starts_U + cut.test_U)[tested]]
        columns.append((bucket.user_hash_U, until_U, test_from_U))
    users_U, until_U, test_from_U = (np.concatenate(column) for column in zip(*columns, strict=True))
    order, content = np.argsort(users_U), corpus.manifest.content_fingerprint
    return Pretrained(users_U[order], until_U[order], test_from_U[order], content, corpus.manifest.order)


def refuse_taught(task: TaskConfig, names: Sequence[str], trained: Recipe) -> None:
    """Check that pretraining read no label of the users with whom tasks of these names are validated and tested.

    Raises:
        UserError: it did: its own deal of users was another one.
    """
    labels = (one for one in trained.objectives() if isinstance(one, LabelsConfig))
    taught = {name for one in labels for name in one.attributes or names}
    own = trained.transfer.task
    is_same = (task.valid_share, task.test_share, task.seed) == (own.valid_share, own.test_share, own.seed)
    if (again := sorted(taught & {*names})) and not is_same:
        raise UserError(
            f"transfer.task {again[0]}: pretraining read labels of it by another deal of users: take its "
            f"transfer.task.seed {own.seed}, valid_share {own.valid_share:g} and test_share {own.test_share:g}"
        )


def refuse_read(names: Sequence[str], attributes: Sequence[str]) -> None:
    """Check that an encoder which reads these attributes of users reads none that tasks of these names predict.

    Raises:
        UserError: it does.
    """
    if read := sorted({*names} & {*attributes}):
        raise UserError(
            f"transfer.task {read[0]}: the encoder reads it of each user (encoder.profile): leave it out there and "
            "pretrain anew, or name others in transfer.task.attributes"
        )


def refuse_seen_items(task: str, held_out: pa.Array, corpus: Corpus, split: Split) -> None:
    """Check the items that a task holds out against those that pretraining on a split was trained on.

    Raises:
        UserError: some are among them.
    """
    items = corpus.items()
    index = items.index_of(held_out) if held_out.type == items.ids.type else np.zeros(0, np.int64)
    seen = int((train_counts(corpus, split)[index[index >= 0]] > 0).sum())
    if seen:
        raise UserError(
            f"transfer.task {task}: pretraining was trained on {seen:,} of the {len(held_out):,} items that are held "
            "out: pretrain with split.rule cold_item and the task's seed and shares, or transfer to another catalogue"
        )


def refuse_nodes(task: str, users_U: NDArray[np.int64], graph: UserItemGraph) -> None:
    """Check that none of a task's cold users is a node of the graph that an encoder looks into.

    Raises:
        UserError: some are: what they did later would be read, and was a part of what the encoder learned to foresee.
    """
    if known := int(np.isin(users_U, graph.users_U).sum()):
        raise UserError(
            f"transfer.task {task}: {known:,} of the {len(users_U):,} cold users are nodes of the encoder's graph, "
            "with all that they did: pretrain with split.rule cold_user and the task's seed and shares, or set "
            "transfer.allow_overlap true where two logs only share ids"
        )


def refuse_other_log(task: str, log: Corpus, source: Corpus) -> None:
    """Check that pretraining read the log that users come from, and so nothing of what they did in another domain.

    Raises:
        UserError: it read another one.
    """
    if log.uri != source.uri and log.manifest.content_fingerprint != source.manifest.content_fingerprint:
        raise UserError(
            f"transfer.task {task}: the encoder was pretrained on {log.uri}, not on {source.uri}, and may have seen "
            "what test users did in the other domain: name the corpus it was pretrained on with --corpus, or set "
            "transfer.allow_overlap true where it has not"
        )


def refuse_overlap(
    task: str,
    users_U: NDArray[np.int64],
    known_until_U: NDArray[np.int64],
    log: Manifest,
    seen: Pretrained,
    cure: str = "pretrain with another split.rule (global_time ends before it)",
) -> None:
    """Check a task's test users, each with the time of the newest interaction that the task knows of them.

    Raises:
        UserError: pretraining was trained on later interactions of some of them; on the same log, histories reach
            into pretraining's own test; or one of two logs has no times to tell by.
    """
    place_U = np.searchsorted(seen.users_U, users_U).clip(max=len(seen.users_U) - 1)
    is_shared_U = seen.users_U[place_U] == users_U
    is_same = log.content_fingerprint == seen.content
    if is_shared_U.any() and not is_same and "row" in (log.order, seen.order):
        raise UserError(
            f"transfer.task {task}: {is_shared_U.sum():,} of the {len(users_U):,} test users are in pretraining's log, "
            "and the two logs have no times to tell what it saw of them: set transfer.allow_overlap true where they "
            "only share ids"
        )
    later = int((is_shared_U & (seen.until_U[place_U] > known_until_U)).sum())
    if later:
        raise UserError(
            f"transfer.task {task}: pretraining was trained on what {later:,} of the {len(users_U):,} test users did "
            f"after the task's test begins: {cure}, or set transfer.allow_overlap true where two logs only share ids"
        )
    beyond = int((is_shared_U & (known_until_U > seen.test_from_U[place_U])).sum())
    if beyond and is_same:
        raise UserError(
            f"transfer.task {task}: the histories of {beyond:,} of the {len(users_U):,} test users reach into the test "
            "period of pretraining: take the split.rule that the encoder was pretrained with"
        )
