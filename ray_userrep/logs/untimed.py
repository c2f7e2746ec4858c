"""Layouts with an order but no time: one user's items a line, or rows that only follow each other.

The n-th interaction is put n seconds after the epoch, which keeps the order and says nothing else. Splits by time and
gaps between interactions mean nothing on such a log. The cuts of the Case Recommender project are of this kind:
tab-separated `.dat` files with a header, where even the order of the rows is only that of the file. Where a user's
items are but a set they are put in an order drawn by a hash: files mostly list items by rising number, and a model
would learn that instead.
"""

from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.files import ROWS_PER_FILE, CsvFormat, LineParser, Rows, stem
from ray_userrep.logs.scan import LogLayout
from ray_userrep.storage import FileEntry

LINES = CsvFormat("\x01", ("line",), quoted=False)  # whole lines
COLUMNS = {"user_id": "user", "item_id": "item", "timestamp": "second"}


def histories(rows: Rows, *more: str) -> LogLayout:
    """The layout of files whose lines `rows` turns into `user`, `item`, `second` and the canonical columns `more`."""
    return LogLayout(
        {**COLUMNS, **{name: name for name in more}}, LINES, parser=LineParser({"line": None}, rows), timed=False
    )


def unroll(users: pa.Array | pa.ChunkedArray, items: pa.ListArray) -> pa.Table:
    """One row (`user`, `item`, `second`) an item of each user's list, `second` counting from 0 in each list."""
    sizes = items.value_lengths().fill_null(0).to_numpy()
    second = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    line = pa.array(np.repeat(np.arange(len(items)), sizes))
    return pa.table({"user": users.take(line), "item": items.flatten(), "second": pa.array(second.astype(np.int64))})


def text_lines(lines: pa.Table) -> pa.Array:
    """The lines of a block as text, without blanks around them, empty ones as empty text."""
    return pc.fill_null(pc.utf8_trim_whitespace(lines["line"].cast(pa.string())), "").combine_chunks()


def line_numbers(lines: pa.Table, first_line: int) -> pa.Array:
    """The number of each line of a block."""
    return pa.array(np.arange(first_line, first_line + lines.num_rows, dtype=np.int64))


def seconds(lines: pa.Table, first_line: int) -> pa.Array:
    """The n-th line of a file n seconds after the epoch."""
    return line_numbers(lines, first_line % ROWS_PER_FILE)


_SECONDS = 2**31  # from which an order is drawn


def shuffled(rows: pa.Table, *_: object, user: str, item: str) -> pa.Table:
    """Rows with a `second` by a hash of user and item: an order for sets, however the rows stand."""
    pairs = pc.binary_join_element_wise(rows[user].cast(pa.string()), rows[item].cast(pa.string()), " ")
    known = pc.fill_null(pairs, "").to_numpy()
    drawn = pd.util.hash_array(known, categorize=False) % np.uint64(_SECONDS)
    return rows.append_column("second", pa.array(drawn.astype(np.int64)))


def joined(table: pa.Table, name: str) -> pa.Table:
    """One row an `item_id` with all its different values of a column, joined by `|` in rising order."""
    pairs = table.group_by(["item_id", name], use_threads=False).aggregate([])
    pairs = pairs.sort_by([("item_id", "ascending"), (name, "ascending")])
    pairs = pairs.set_column(pairs.column_names.index(name), name, pairs[name].cast(pa.string()))
    lists = pairs.group_by("item_id", use_threads=False).aggregate([(name, "list")])
    return pa.table({"item_id": lists["item_id"], name: pc.binary_join(lists[f"{name}_list"], "|")})


def ids_of(lists: pa.ListArray) -> pa.ListArray:
    """The lists without the `0` and the nothing that pad them."""
    values = lists.flatten()
    kept = pc.invert(pc.is_in(values, value_set=pa.array(["", "0"])))
    counts = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    sizes = lists.value_lengths().fill_null(0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(counts[ends].astype(np.int32)), values.filter(kept))


TABS = CsvFormat("\t", quoted=False)


def untimed(user: str, item: str, events: dict[str, str]) -> LogLayout:
    """The layout of files of pairs; the file's name without `.dat` says which of `events` they are."""
    columns = {"user_id": user, "item_id": item, "timestamp": "second"} | ({"event": "behaviour"} if events else {})
    parser = LineParser({user: None, item: None}, partial(_rows, events=events))
    return LogLayout(columns, TABS, parser=parser, timed=False)


def only(files: list[FileEntry], *names: str) -> list[FileEntry]:
    """The files of these names, in the order of the names."""
    return [file for name in names for file in files if stem(file.uri) == name]


def _rows(rows: pa.Table, file: FileEntry, first_line: int, events: dict[str, str]) -> pa.Table:
    rows = rows.append_column("second", seconds(rows, first_line))
    event = events.get(stem(file.uri))
    return rows if event is None else rows.append_column("behaviour", pa.repeat(pa.scalar(event), rows.num_rows))
