"""What is known of users beside their histories: the other columns of their table, as models can read them.

Columns are read as labels are: numbers with many values as they are, all else as classes. A value that few users share
tells those users apart, not users like them: it becomes "other", so that a column of ids or of addresses says nothing
and is left out, at the price of rare values that do mean something.

Shapes: U users, F columns, E numbers that a head reads.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.errors import UserError
from ray_userrep.evaluation.metrics import r2
from ray_userrep.evaluation.profile import MAX_CLASSES, is_known, is_quantity

_LEAST_USERS, _MOST_VALUES = 10, 62
_FAR = 5.0  # standard deviations: what lies beyond would drown everything else in a head
_LEAK_WRONG, _LEAK_OF_USUAL, _LEAK_LEAST, _LEAK_R2 = 0.01, 0.1, 5, 0.99

Rows = NDArray[np.int64]
Table = NDArray[np.float64]


@dataclass(frozen=True)
class UserColumns:
    """Columns of users, a row a user: codes of classes where `num_values_F` counts them, numbers where it is 0.

    NaN stands for what is missing.
    """

    names: tuple[str, ...]
    values_UF: Table
    num_values_F: NDArray[np.int64]

    @property
    def is_class_F(self) -> NDArray[np.bool_]:
        return self.num_values_F > 0

    def take(self, rows: Rows) -> Self:
        """The given users, in that order."""
        return type(self)(self.names, self.values_UF[rows], self.num_values_F)

    def with_numbers(self, name: str, numbers_UF: Table) -> Self:
        """These columns and numbers of the same users, which share a name."""
        more = numbers_UF.shape[1]
        values_UF = np.concatenate([self.values_UF, numbers_UF], axis=1)
        return type(self)((*self.names, *[name] * more), values_UF, np.pad(self.num_values_F, (0, more)))


def read_columns(
    users: pa.Table | None, users_U: NDArray[np.int64], wanted: Sequence[str] | None, target: str | None
) -> UserColumns:
    """The wanted columns of these users (stable hashes), or all but the target where `wanted` is None.

    Lists are left out, as is what has no value that ten users share; of classes the 62 commonest are told apart.

    Raises:
        UserError: a column that is wanted is the target, is not there, or is such that it would be left out.
    """
    there = [] if users is None else [name for name in users.column_names if name != "user_id"]
    for name in wanted or ():
        if name == target:
            raise UserError(
                f"transfer.columns names {name}, which transfer.task predicts: leave it out, or name the attributes "
                "to predict with transfer.task.attributes"
            )
        if name not in there:
            raise UserError(f"transfer.columns: no {name!r} among the users' columns {', '.join(there) or '(none)'}")
    found: dict[str, tuple[Table, int]] = {}
    for name in [name for name in there if name != target] if wanted is None else wanted:
        assert users is not None
        column = _column(users[name].take(_places(users, users_U)).combine_chunks())
        if column is None and wanted is not None:
            raise UserError(f"transfer.columns {name}: it has neither numbers nor a value that ten users share")
        found |= {} if column is None else {name: column}
    values = [values_U for values_U, _ in found.values()]
    values_UF = np.column_stack(values) if values else np.zeros((len(users_U), 0))
    return UserColumns(tuple(found), values_UF, np.array([number for _, number in found.values()], np.int64))


def as_inputs(columns: UserColumns, fit: Rows) -> NDArray[np.float32]:
    """What a head reads of each user, `[U, E]`: a number a class, standardised numbers, flags of what is missing.

    Means and deviations are those of the users `fit`; what lies more than five deviations out is brought in. What is
    missing is zero beside its flag.
    """
    parts = []
    for values_U, num_values in zip(columns.values_UF.T, columns.num_values_F, strict=True):
        is_missing_U = np.isnan(values_U)
        parts.append(values_U[:, None] == np.arange(num_values) if num_values else _standard(values_U, fit)[:, None])
        if is_missing_U.any():
            parts.append(is_missing_U[:, None])
    return np.concatenate(parts, axis=1, dtype=np.float32)


def refuse_leaks(task: str, columns: UserColumns, labels_U: Table, num_classes: int, fit: Rows, tune: Rows) -> None:
    """Check that no column tells the label by itself, which nothing could add to.

    A tree on that column alone, grown to the end on the users `fit`, may not be right about nearly all users `tune`:
    wrong about one in a hundred at most and about a tenth of those who are not of the commonest class, or an r2 of .99.

    Raises:
        UserError: one does; the message says how to leave it out.
    """
    for number, name in enumerate(columns.names):
        x_U1 = columns.values_UF[:, [number]]
        tree = (DecisionTreeClassifier if num_classes else DecisionTreeRegressor)(random_state=0)
        predicted_U, truth_U = tree.fit(x_U1[fit], labels_U[fit]).predict(x_U1[tune]), labels_U[tune]
        is_told = _are_told(truth_U, predicted_U) if num_classes else r2(truth_U, predicted_U) >= _LEAK_R2
        if is_told:
            others = json.dumps([other for other in columns.names if other != name])
            raise UserError(
                f"transfer.task {task}: the users' column {name} tells the label of nearly every validation user by "
                f"itself: leave it out with transfer.columns '{others}'"
            )


def _are_told(truth_U: Table, predicted_U: Table) -> bool:
    wrong = int((predicted_U != truth_U).sum())
    unusual = len(truth_U) - int(np.bincount(truth_U.astype(int)).max())
    return unusual >= _LEAK_LEAST and wrong <= min(_LEAK_WRONG * len(truth_U), _LEAK_OF_USUAL * unusual)


def _places(users: pa.Table, users_U: NDArray[np.int64]) -> pa.Array:
    """The row of each user in the table, null where there is none."""
    known = hash_ids(users["user_id"])
    order = np.argsort(known)
    place_U = np.searchsorted(known[order], users_U)
    is_there_U = np.isin(users_U, known)
    return pa.array(np.append(order, 0)[place_U], mask=~is_there_U)


def _column(column: pa.Array) -> tuple[Table, int] | None:
    """A column's values and how many classes they are of, 0 for numbers; None where it says nothing."""
    if pa.types.is_nested(column.type):
        return None
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    is_known_U = is_known(column).to_numpy(zero_copy_only=False)
    column, values_U = column.filter(pa.array(is_known_U)), np.full(len(is_known_U), np.nan)
    encoded = column.dictionary_encode()
    if len(encoded.dictionary) > MAX_CLASSES and is_quantity(column.type):
        values_U[is_known_U] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        return values_U, 0
    codes = encoded.indices.to_numpy()
    users_C = np.bincount(codes, minlength=len(encoded.dictionary))
    common = np.argsort(-users_C, kind="stable")[:_MOST_VALUES]
    common = common[users_C[common] >= _LEAST_USERS]
    place_C = np.full(len(users_C), len(common))  # behind the last: other
    place_C[common] = np.arange(len(common))
    values_U[is_known_U] = place_C[codes]
    return (values_U, len(common) + 1) if len(common) else None


def _standard(values_U: Table, fit: Rows) -> Table:
    known = values_U[fit][~np.isnan(values_U[fit])]
    centre, scale = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
    return np.nan_to_num(((values_U - centre) / scale).clip(-_FAR, _FAR))
