"""Files whose lines are not interactions: a line may be a user's whole history, or know an order but no time.

A shape turns each block of lines into rows while the file streams, so that such layouts share the scan, its checks and
its quarantine with all others. It sees one block at a time and must not need another.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs import files
from ray_userrep.logs.files import Columns, CsvFormat, Part
from ray_userrep.storage import FileEntry

ROWS_PER_FILE = 2**40  # row = file number * this + row in the file

Rows = Callable[[pa.Table, FileEntry, int], pa.Table]


class Shape(NamedTuple):
    """`columns` are read of a file; `rows` makes interactions of a block, its file and the number of its first line.

    Lines are counted as rows are: file number * ROWS_PER_FILE + non-empty line in the file.
    """

    columns: Columns
    rows: Rows


def column_names(file: FileEntry, csv: CsvFormat, shape: Shape | None) -> list[str]:
    """The columns of a file's rows; none in an empty file.

    Raises:
        UserError: the file lacks a column that its rows are made of.
    """
    names = files.column_names(file, csv)
    if shape is None or not names:
        return names
    missing = [name for name in shape.columns if name not in names]
    if missing:
        raise UserError(f"{file.uri} has no column {missing[0]!r}; its columns are {', '.join(names)}")
    return head(file, csv, shape, None).column_names


def head(file: FileEntry, csv: CsvFormat, shape: Shape | None, columns: Columns | None) -> pa.Table:
    """The named columns (None: all) of the first rows of a file."""
    if shape is None:
        return files.head(file, csv, columns or {})
    rows = shape.rows(files.head(file, csv, shape.columns), file, 0)
    return rows if columns is None else rows.select(list(columns))


def blocks(
    part: Part, csv: CsvFormat, shape: Shape | None, columns: Columns, malformed: list[str], first_line: int
) -> Iterator[pa.Table]:
    """The named columns of the rows of a part; lines that cannot be split are added to `malformed`."""
    if shape is None:
        yield from files.blocks(part, csv, columns, malformed)
        return
    for lines in files.blocks(part, csv, shape.columns, malformed):
        yield shape.rows(lines, part.file, first_line).select(list(columns))
        first_line += lines.num_rows
