"""The small tables beside a log, items and users: one row an id, chosen the same way every time."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.files import CsvFormat, column_names, parts, read_blocks
from ray_userrep.logs.ids import convert_ids
from ray_userrep.storage import FileEntry


def read_whole(files: list[FileEntry], csv: CsvFormat) -> pa.Table:
    """All columns and rows of small files, in order; text columns of CSV stay text."""
    found = [table for file in files for table in tables([file], csv, column_names(file, csv))]
    return pa.concat_tables(found, promote_options="permissive") if found else pa.table({})


def tables(files: list[FileEntry], csv: CsvFormat, columns: list[str]) -> Iterator[pa.Table]:
    """The named columns of files, block by block.

    Raises:
        UserError: a file lacks one of them.
    """
    for file in files:
        names = column_names(file, csv)
        missing = [name for name in columns if name not in names]
        if missing and names:
            raise UserError(f"{file.uri} has no column {missing[0]!r}; its columns are {', '.join(names)}")
        for part in parts(file) if names else []:
            yield from read_blocks(part, csv, dict.fromkeys(columns), [])


def keyed(table: pa.Table, key: str, kind: pa.DataType, file: str) -> pa.Table:
    """The rows that have a key, the first of each, with the key as int64 or text.

    Raises:
        UserError: a key does not fit the type that the log's ids have.
    """
    place = table.column_names.index(key)
    table = table.set_column(place, key, convert_ids(table.column(key), kind, key, file))
    table = table.filter(pc.is_valid(table.column(key)))
    return table.take(_first_rows(table, [key]))


def most_frequent(table: pa.Table, key: str, value: str) -> pa.Table:
    """The commonest value of each key, the smallest of equally common ones; null values do not count."""
    table = table.select([key, value]).filter(pc.and_(pc.is_valid(table[key]), pc.is_valid(table[value])))
    counted = table.group_by([key, value]).aggregate([([], "count_all")])
    order = [(key, "ascending"), ("count_all", "descending"), (value, "ascending")]
    ranked = counted.sort_by(order).select([key, value])
    return ranked.take(_first_rows(ranked, [key]))


def _first_rows(table: pa.Table, keys: list[str]) -> pa.Array:
    numbered = table.select(keys).append_column("row", pa.array(np.arange(table.num_rows)))
    return numbered.group_by(keys).aggregate([("row", "min")]).column("row_min").sort().combine_chunks()
