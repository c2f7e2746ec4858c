"""Predicting what the next item will be like: its categories, or the values of another column of the item table.

The label is the user's first item of the split's test, of which an item may have several values: each is a label of its
own. A next item that is one of a million is hard to tell and often not what is asked; its category is. Users without an
item in the test, and items of which nothing is known, are left out.

Shapes: U users, C values.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences, read_histories
from ray_userrep.evaluation.profile import Attribute
from ray_userrep.recipe.transfer import NextCategoryTaskConfig, TransferConfig
from ray_userrep.transfer.tasks.attribute import AttributeTask
from ray_userrep.transfer.tasks.columns import read_columns
from ray_userrep.transfer.tasks.label_table import commonest


def read_next_category_task(
    corpus: Corpus, split: Split, histories: Sequences, config: TransferConfig
) -> AttributeTask:
    """The task; `histories` are those of all users, as known when the split's test begins.

    Raises:
        UserError: as `next_values`, or there are too few users.
    """
    assert isinstance(config.task, NextCategoryTaskConfig)
    label = next_values(corpus, split, histories, config.task.column)
    columns = read_columns(corpus.users(), histories.users_U, config.columns, None)
    num_without = int((histories.lengths_U == 0).sum())
    return AttributeTask(label, histories, corpus, split, config, columns, num_without)


def next_values(corpus: Corpus, split: Split, histories: Sequences, column: str) -> Attribute:
    """Which values of a column each user's next item has; of all values the commonest that can be told, `[U, C]`.

    Raises:
        UserError: the items have no such column, or no value of it that ten users' next items have and ten have not.
    """
    items = corpus.items()
    if column not in items.table.column_names:
        there = ", ".join(items.table.column_names)
        raise UserError(f"transfer.task.column: the items of {corpus.uri} have no column {column!r}; they have {there}")
    test = read_histories(corpus, split, "test", None)
    users_U, first = np.unique(test.users_U, return_index=True)  # of several targets in a row the first
    (lists,) = items.features((column,)).values()
    sets = [set(values or ()) for values in lists.take(pa.array(test.targets_U[first])).to_pylist()]
    known = np.flatnonzero([bool(one) for one in sets])
    values_UC, names = commonest([sets[row] for row in known])
    if not names:
        raise UserError(
            f"transfer.task next {column}: no value is in the next items of ten users and missing in those of ten: "
            "name another transfer.task.column"
        )
    rows_U = _rows(histories.users_U, users_U[known])
    return Attribute(f"next {column}", rows_U, values_UC, names, np.zeros(len(rows_U), np.bool_))


def _rows(of_U: NDArray[np.int64], wanted_U: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of the wanted users is among all."""
    order = np.argsort(of_U)
    return order[np.searchsorted(of_U[order], wanted_U)]
