"""A table of labels of one's own: who is asked about, as of when, in which part, and what is true of them.

A label is a class, or a number with more than thirty values; `labels` are several at once. What cannot be used is left
out and counted, never guessed at: a table that was joined wrongly shows by its counts. All of it is held in memory, as
labels are few beside interactions.

Shapes: E rows that have a label, C labels.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.profile import attribute_of, is_known
from ray_userrep.logs.dimensions import read_whole, renamed
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.ids import convert_ids, is_text
from ray_userrep.logs.numbers import read_numbers
from ray_userrep.logs.times import ISO, parse_timestamps
from ray_userrep.recipe.transfer import LabelColumn

ALWAYS = np.iinfo(np.int64).max  # where a row has no date
_PARTS = {"train": "train", "validation": "valid", "valid": "valid", "test": "test"}
_LEAST_ROWS, _MOST_LABELS = 10, 100
_FIELD = "transfer.task.labels"


class LabelTable(NamedTuple):
    """Rows with a label; `until_E` in us, `parts_E` where the table says them.

    `values` are class codes or numbers, `[E]`, or which labels a row has, `[E, C]`; `left_out` counts other rows.
    """

    user_ids: pa.Array
    until_E: NDArray[np.int64]
    values: NDArray[np.float64]
    classes: list[str]
    parts_E: NDArray[np.str_] | None
    left_out: dict[str, int]

    @property
    def users_E(self) -> NDArray[np.int64]:
        """The users' stable hashes."""
        return hash_ids(self.user_ids)


def read_label_table(uri: str, corpus: Corpus, columns: Mapping[LabelColumn, str]) -> LabelTable:
    """The rows of a table that have a label; `columns` are what it calls some of its columns.

    Raises:
        UserError: a column is missing or cannot be read, a user has two labels as of one date, or all labels are alike.
    """
    table = renamed(read_whole(storage.list_files(uri), CsvFormat()), columns, "transfer.task.columns", uri)
    column = _label_column(table, uri)
    users = convert_ids(table["user_id"], corpus.user_type, "user_id", uri).combine_chunks()
    until_E, parts_E = _until(table, corpus, uri), _parts(table, uri)
    labels = table[column].combine_chunks()
    is_used_E = pc.and_(users.is_valid(), is_known(labels)).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(is_used_E)
    found, values, classes = (_several if column == "labels" else _one)(labels.take(pa.array(rows)), uri)
    left_out = {"unlabelled": len(labels) - len(rows), "of_rare_class": len(rows) - len(found)}
    rows = rows[found]
    users, until_E = users.take(pa.array(rows)), until_E[rows]
    _refuse_twice(users, until_E, uri)
    return LabelTable(users, until_E, values, classes, None if parts_E is None else parts_E[rows], left_out)


def _label_column(table: pa.Table, uri: str) -> str:
    names = ", ".join(table.column_names)
    if "user_id" not in table.column_names:
        raise UserError(
            f"{_FIELD}: {uri} has no column user_id; it has {names}: say which one it is, as in transfer.task.columns "
            '\'{"user_id": "customer", "until": "day", "label": "churned"}\''
        )
    given = [name for name in ("label", "labels") if name in table.column_names]
    if len(given) != 1:
        told = "neither label nor labels (transfer.task.columns says which)" if not given else "one of them is meant"
        raise UserError(f"{_FIELD}: {uri} has the columns {names}: {told}")
    return given[0]


def _until(table: pa.Table, corpus: Corpus, uri: str) -> NDArray[np.int64]:
    if "until" not in table.column_names:
        return np.full(table.num_rows, ALWAYS)
    corpus.manifest.require_times(f"the column until of {_FIELD}")
    given = table["until"]
    times = parse_timestamps(given, "s", (ISO,), "until", uri)
    is_lost = pc.and_(times.is_null(), given.is_valid())
    if pc.any(is_lost).as_py():
        raise UserError(f"{_FIELD}: {uri} has {given.filter(is_lost)[0].as_py()!r} in until, which is no time")
    return times.cast(pa.int64()).fill_null(ALWAYS).to_numpy()


def _parts(table: pa.Table, uri: str) -> NDArray[np.str_] | None:
    if "split" not in table.column_names:
        return None
    given = table["split"].to_pylist()
    odd = next((part for part in given if part not in _PARTS), None)
    if any(part not in _PARTS for part in given):
        raise UserError(f"{_FIELD}: {uri} has {odd!r} in split, which takes train, validation or test in each row")
    return np.array([_PARTS[part] for part in given])


def _one(labels: pa.Array, uri: str) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Rows of classes that are common enough, or of numbers; classes in their order, of two the second one counts."""
    if pa.types.is_nested(labels.type):
        raise UserError(f"{_FIELD}: {uri} has lists in label: call the column labels")
    labels = _numbers(labels)
    order = pc.sort_indices(labels)
    found = attribute_of(
        "label", labels.take(order), order.to_numpy().astype(np.int64), np.zeros(len(labels), np.int64)
    )
    if found is None:
        raise UserError(
            f"{_FIELD}: {uri} has {len(labels)} labels of {len(labels.unique())} classes: it takes 100 rows, and two "
            "to thirty classes of ten rows each, or numbers"
        )
    back = np.argsort(found.rows_U)
    return found.rows_U[back], found.values_U[back], found.classes


def _numbers(labels: pa.Array) -> pa.Array:
    """Text as the numbers that it may be: files of text have no others."""
    if pa.types.is_dictionary(labels.type):
        labels = labels.dictionary_decode()
    if not is_text(labels.type):
        return labels
    numbers = read_numbers(pa.chunked_array([labels])).combine_chunks()
    if numbers.null_count:
        return labels
    return numbers.cast(pa.int64()) if pc.all(pc.equal(numbers, pc.floor(numbers))).as_py() else numbers


def _several(labels: pa.Array, uri: str) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """All rows, and which of the commonest labels each has; a label that few have, or all but few, tells nothing."""
    lists = [set(map(str, found)) for found in _lists(labels, uri)]
    values, names = commonest(lists)
    if not names:
        raise UserError(f"{_FIELD}: {uri} has no label that ten rows have and ten have not: there is nothing to tell")
    return np.arange(len(lists)), values, names


def commonest(sets: Sequence[Set[str]]) -> tuple[NDArray[np.float64], list[str]]:
    """Which of some labels each set holds, and the labels: the commonest that ten sets have and ten have not, `[E, C]`.

    How many there are beside them is printed.
    """
    sizes = Counter(name for one in sets for name in one)
    told = [name for name, size in sizes.items() if _LEAST_ROWS <= size <= len(sets) - _LEAST_ROWS]
    names = sorted(sorted(told, key=lambda name: (-sizes[name], name))[:_MOST_LABELS])
    if 0 < len(names) < len(sizes):
        print(f"labels    {len(names)} of {len(sizes)} are told apart: the commonest that some have and some have not")
    return np.array([[name in one for name in names] for one in sets], np.float64), names


def _lists(labels: pa.Array, uri: str) -> list[list[object]]:
    if pa.types.is_list(labels.type) or pa.types.is_large_list(labels.type):
        return labels.to_pylist()
    if not is_text(labels.type):
        raise UserError(
            f"{_FIELD}: {uri} has {labels.type} in labels: it takes lists, JSON, or a|b; one label is label"
        )
    return [_list(text.strip(), uri) for text in labels.to_pylist()]


def _list(text: str, uri: str) -> list[object]:
    if not text.startswith("["):
        return [name for name in (part.strip() for part in text.split("|")) if name]
    try:
        found: list[object] = json.loads(text)
        return found
    except ValueError as error:
        raise UserError(f"{_FIELD}: {uri} has {text[:80]!r} in labels, which is no JSON: {error}") from error


def _refuse_twice(users: pa.Array, until_E: NDArray[np.int64], uri: str) -> None:
    counted = pa.table({"user": users, "until": until_E}).group_by(["user", "until"]).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted["count_all"], 1))
    if twice.num_rows:
        raise UserError(
            f"{_FIELD}: {uri} has several rows of one user and one date, {twice.num_rows} times, the first of user "
            f"{twice['user'][0]}: leave one of each, or put several labels into the column labels"
        )
