"""Files whose lines are not interactions: a line may be a user's whole history, or know an order but no time.

A parser turns each block of lines into rows while the file streams, so that such layouts share the scan, its checks and
its quarantine with all others. It sees one block at a time and must not need another.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from ray_userrep.logs import files
from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.files import Columns, CsvFormat, FilePart, FilePreview
from ray_userrep.storage import FileEntry

ROWS_PER_FILE = 2**40  # row = file number * this + row in the file

Rows = Callable[[pa.Table, FileEntry, int], pa.Table]


class LineParser(NamedTuple):
    """`columns` are read of a file; `rows` makes interactions of a block, its file and the number of its first line.

    Lines are counted as rows are: file number * ROWS_PER_FILE + non-empty line in the file.
    """

    columns: Columns
    rows: Rows


def preview_rows(
    file: FileEntry, csv: CsvFormat, parser: LineParser | None, choose: Callable[[list[str]], Columns]
) -> FilePreview:
    """Open a file once; `choose` picks the columns of its first rows.

    Raises:
        OtherSchema: the file lacks a column that its rows are made of.
    """
    if parser is None:
        return files.preview(file, csv, choose)
    found = files.preview(file, csv, lambda names: _needed(parser, names, file))
    if not found.columns:
        return found
    rows = parser.rows(found.head, file, 0)
    return found._replace(columns=rows.column_names, head=rows.select(list(choose(rows.column_names))))


def _needed(parser: LineParser, names: list[str], file: FileEntry) -> Columns:
    missing = [name for name in parser.columns if name not in names]
    if missing:
        raise OtherSchema(f"{file.uri} has no column {missing[0]!r}; its columns are {', '.join(names)}")
    return parser.columns


def row_blocks(
    part: FilePart, csv: CsvFormat, parser: LineParser | None, columns: Columns, malformed: list[str], first_line: int
) -> Iterator[pa.Table]:
    """The named columns of the rows of a part; lines that cannot be split are added to `malformed`."""
    if parser is None:
        yield from files.read_blocks(part, csv, columns, malformed)
        return
    for lines in files.read_blocks(part, csv, parser.columns, malformed):
        yield parser.rows(lines, part.file, first_line).select(list(columns))
        first_line += lines.num_rows
