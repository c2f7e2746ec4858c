"""Predicting labels of one's own: what each user did before the date that stands beside the label says it.

A row of the table, not a user, is what is trained on and tested: it has a key of its own, under which the history up to
its date goes through everything that else goes by users. That lets one user be asked about on several dates, at the
price of a history in memory for each. Users are dealt out whole, unless the table says its parts itself.

Shapes: E rows of the table, U of them those whose users have a history.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.deal import UserParts, as_dealt, deal
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.evaluation.profile import Attribute
from ray_userrep.recipe.transfer import LabelTaskConfig, TableTaskConfig, TransferConfig
from ray_userrep.transfer.tasks.attribute import TIME, AttributeTask
from ray_userrep.transfer.tasks.base import Part
from ray_userrep.transfer.tasks.columns import read_columns
from ray_userrep.transfer.tasks.label_table import ALWAYS, LabelTable, read_label_table
from ray_userrep.transfer.tasks.users import fingerprint

_KEY = 46  # what a draw is for
_WHY = {
    "unlabelled": "without a user or a label",
    "of_rare_class": "of a class of fewer than ten rows",
    "not_in_log": "of users whom the log has not",
    "before_first": "dated before the user's first interaction",
}
_MOST_UNKNOWN = 0.5  # share of the users: beyond, the table is of another log


@dataclass(frozen=True)
class Dated:
    """Users (stable hashes) and the moments (us) before which their interactions count; a user may be there often."""

    users_E: NDArray[np.int64]
    until_E: NDArray[np.int64]

    @property
    def keys_E(self) -> NDArray[np.int64]:
        """What tells these rows apart as hashes tell users apart."""
        return draws.bits(_KEY, self.users_E, self.until_E).view(np.int64)

    def take(self, rows: NDArray[np.int64]) -> "Dated":
        """The given rows, in that order."""
        return Dated(self.users_E[rows], self.until_E[rows])

    def of(self, bucket: Bucket) -> tuple[NDArray[np.int64], Bucket]:
        """The rows whose users a bucket has, and what they did before, each row as a user of its own."""
        rows_E = np.flatnonzero(np.isin(self.users_E, bucket.user_hash_U))
        order = np.argsort(bucket.user_hash_U)
        users = order[np.searchsorted(bucket.user_hash_U[order], self.users_E[rows_E])]
        whole = bucket.heads(users, bucket.lengths_U[users])
        lengths = whole.counts(whole.timestamps_N < np.repeat(self.until_E[rows_E], whole.lengths_U))
        return rows_E, bucket.heads(users, lengths)._replace(user_hash_U=self.keys_E[rows_E])

    def training(self, bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        """What windows are cut from, and how much of each row is trained on: all of it."""
        _, known = self.of(bucket)
        return known, known.lengths_U

    def train_lengths(self, corpus: Corpus, number: int) -> NDArray[np.int64]:
        """How much of each row of a bucket is trained on."""
        return self.training(corpus.bucket(number))[1]


class DatedTask(AttributeTask):
    """Labels of a table, whose rows are those of `histories` in `rows_U`."""

    def __init__(
        self,
        name: str,
        table: LabelTable,
        rows_U: NDArray[np.int64],
        histories: Sequences,
        corpus: Corpus,
        split: Split,
        config: TransferConfig,
    ) -> None:
        self._table, self._rows_U = table, rows_U
        none = np.zeros(len(rows_U), np.bool_)
        attribute = Attribute(name, np.arange(len(rows_U)), table.values[rows_U], table.classes, none)
        columns = read_columns(corpus.users(), table.users_E[rows_U], config.columns, None)
        super().__init__(attribute, histories, corpus, split, config, columns, 0)
        content = self._histories.users_U, self._labels_U, self._parts.train
        digest = hashlib.sha256(b"".join(one.tobytes() for one in content)).hexdigest()
        self._key = fingerprint(self._key, digest)

    def _dealt(self, asked: LabelTaskConfig) -> UserParts:
        self._asked = Dated(self._table.users_E, self._table.until_E).take(self._rows_U[self._asked_U])
        if self._table.parts_E is None:
            return deal(self._asked.users_E, asked.valid_share, asked.test_share, asked.seed)
        return as_dealt(self._asked.users_E, self._table.parts_E[self._rows_U[self._asked_U]], asked.seed)

    def _known_ends(self) -> NDArray[np.int64]:
        return np.where(self._asked.until_E == ALWAYS, super()._known_ends(), self._asked.until_E)

    def cut(self, share: float) -> Dated:
        """What the users of the training rows did before their dates."""
        return self._asked.take(self._train(share))

    def known_of(self, part: Part) -> pa.Table:
        rows = self._rows(part)
        until_U = self._asked.until_E[rows]
        users = self._table.user_ids.take(pa.array(self._rows_U[self._asked_U[rows]]))
        return pa.table({"user_id": users, "until": pa.array(until_U, TIME, mask=until_U == ALWAYS)})

    def thin_users(self) -> dict[str, int]:
        return super().thin_users() | self._table.left_out

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._asked.users_E[self._parts.test], super().known_until()[1]

    def ends_before(self) -> str:
        """How pretraining ends before the first date of a test row, in words."""
        first = np.datetime64(int(self._asked.until_E[self._parts.test].min()), "us").astype("datetime64[D]")
        return (
            f"let it end before the first date of the labels, with split.rule global_time and split.test_from {first}"
        )


def read_dated_task(corpus: Corpus, split: Split, config: TransferConfig, side: Sequence[str]) -> DatedTask:
    """The task of a table of labels; what is left out of it is printed.

    Raises:
        UserError: as `read_label_table`, most users are none of the log, or too few rows are left.
    """
    assert isinstance(config.task, TableTaskConfig)
    uri = config.task.labels
    table = read_label_table(uri, corpus, config.task.columns)
    dated, found, known = Dated(table.users_E, table.until_E), [np.zeros(0, np.int64)], []
    for number in corpus.buckets():
        rows, bucket = dated.of(corpus.bucket(number, side))
        found.append(rows)
        known.append(sequences_of(bucket))
    rows_U, histories = np.concatenate(found), Sequences.concat(known)
    _refuse_unknown(uri, dated.users_E, rows_U)
    has_history_U = histories.lengths_U > 0
    before = int((~has_history_U).sum())
    table = table._replace(left_out=table.left_out | {"not_in_log": len(dated.users_E) - len(rows_U)})
    left_out = table.left_out | {"before_first": before}
    told = ", ".join(f"{count:,} {_WHY[why]}" for why, count in left_out.items() if count)
    num_users = len(np.unique(dated.users_E[rows_U[has_history_U]]))
    print(f"labels    {has_history_U.sum():,} rows of {num_users:,} users; left out: {told or 'none'}", flush=True)
    return DatedTask(_name(uri), table, rows_U, histories, corpus, split, config)


def _refuse_unknown(uri: str, users_E: NDArray[np.int64], rows_U: NDArray[np.int64]) -> None:
    users, known = len(np.unique(users_E)), len(np.unique(users_E[rows_U]))
    if users - known > _MOST_UNKNOWN * users:
        raise UserError(
            f"transfer.task.labels: {users - known:,} of the {users:,} users of {uri} are not in the log: is the table "
            "of another log, or are its ids written in another way?"
        )


def _name(uri: str) -> str:
    """What the task is called: as the file is, without its ending."""
    return re.sub(r"\W+", "_", uri.rstrip("/").rsplit("/", 1)[-1].partition(".")[0]) or "labels"
