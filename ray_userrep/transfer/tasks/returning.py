"""Predicting who comes back: does a user do anything in the days after a cut, or have they churned.

Labels come from the log itself. What is known of a user ends at the cut, which is where the split's test begins, and a
pretraining that saw beyond it is refused like any other that has seen the future.

Shapes: U users.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.profile import Attribute
from ray_userrep.recipe.corpus import GlobalTimeConfig
from ray_userrep.recipe.transfer import ReturnTaskConfig, TransferConfig
from ray_userrep.transfer.tasks.attribute import TIME, AttributeTask
from ray_userrep.transfer.tasks.base import Part
from ray_userrep.transfer.tasks.columns import read_columns

_DAY = 86_400 * 10**6


class ReturnTask(AttributeTask):
    """Whether users come back, beside trees that know when and how often they came."""

    def _known_ends(self) -> NDArray[np.int64]:
        return np.full(self._histories.num_users, self._split.test_from)

    def known_of(self, part: Part) -> pa.Table:
        return super().known_of(part).set_column(1, "until", pa.array(self._ends_U[self._rows(part)], TIME))


def read_return_task(corpus: Corpus, split: Split, histories: Sequences, config: TransferConfig) -> ReturnTask:
    """The task; `histories` are those of all users, as known when the split's test begins.

    Raises:
        UserError: as `return_labels`, or there are too few users.
    """
    assert isinstance(config.task, ReturnTaskConfig)
    label = return_labels(corpus, split, histories, config.task)
    columns = read_columns(corpus.users(), histories.users_U, config.columns, None)
    num_without = int((histories.lengths_U == 0).sum())
    return ReturnTask(label, histories, corpus, split, config, columns, num_without)


def return_labels(corpus: Corpus, split: Split, histories: Sequences, config: ReturnTaskConfig) -> Attribute:
    """Who of the users with a history comes back.

    Raises:
        UserError: the split has no cut in time, the log ends too early, or everybody comes back or nobody.
    """
    name = f"return within {config.days} days"
    if not isinstance(split.config, GlobalTimeConfig):
        raise UserError(f"transfer.task {name} asks what users do after one point in time: take split.rule global_time")
    _refuse_short(name, corpus, split.test_from, config.days)
    newest_U = np.full(histories.num_users, np.iinfo(np.int64).min)
    has_any_U = histories.lengths_U > 0
    newest_U[has_any_U] = histories.times_N[histories.offsets_U1[1:][has_any_U] - 1]
    if config.active_days is not None:
        name += f", seen in the {config.active_days} days before"
        has_any_U &= newest_U >= split.test_from - config.active_days * _DAY
    rows_U = np.flatnonzero(has_any_U)
    is_back_U = np.isin(histories.users_U[rows_U], _seen(corpus, split.test_from, config.days))
    if is_back_U.all() or not is_back_U.any():
        raise UserError(f"transfer.task {name}: {is_back_U.sum()} of {len(rows_U)} users do: there is nothing to tell")
    return Attribute(name, rows_U, is_back_U.astype(np.float64), ["no", "yes"], np.zeros(len(rows_U), np.bool_))


def _seen(corpus: Corpus, cut: int, days: int) -> NDArray[np.int64]:
    """Stable hashes of the users who did anything in the days after the cut."""
    found = [np.zeros(0, np.int64)]
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        is_after_N = (bucket.timestamps_N >= cut) & (bucket.timestamps_N < cut + days * _DAY)
        found.append(bucket.user_hash_U[bucket.counts(is_after_N) > 0])
    return np.concatenate(found)


def _refuse_short(name: str, corpus: Corpus, cut: int, days: int) -> None:
    first = datetime.fromtimestamp(cut / 1e6, UTC).date()
    last = date.fromisoformat(max(corpus.manifest.interactions_per_day))
    if first + timedelta(days=days - 1) > last:
        raise UserError(
            f"transfer.task {name}: the split's test begins on {first} and the log ends on {last}: "
            "take a larger split.test_share, or fewer transfer.task.days"
        )
