"""RecBole's atomic files as tables: tab-separated, the header's `name:type` split into names and Arrow types.

A `token_seq` holds several values in one field: quoted ones separated by commas, or bare ones by spaces. Quotes are
CSV's, as pandas writes them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.dimensions import read_whole
from ray_userrep.logs.files import CsvFormat
from ray_userrep.storage import FileEntry

_ATOMIC = CsvFormat("\t")
_TEXT = ("title", "movie_title", "name", "text")
_CATEGORY = ("categories", "category", "class", "genres", "genre")


def read_atomic(file: FileEntry) -> pa.Table:
    """A whole small file; floats where the header says so, all else text."""
    table = read_whole([file], _ATOMIC)
    typed = [_typed(table[name].cast(pa.string()), name.partition(":")[2]) for name in table.column_names]
    return pa.table(dict(zip((name.partition(":")[0] for name in table.column_names), typed, strict=True)))


def described(table: pa.Table) -> pa.Table:
    """An item file's columns under canonical names: `text` and `category`; the others keep theirs."""
    for target, names in (("text", _TEXT), ("category", _CATEGORY)):
        source = next((name for name in names if name in table.column_names), None)
        if source is not None:
            table = table.rename_columns([target if name == source else name for name in table.column_names])
    for target, clean in (("text", pc.utf8_trim_whitespace), ("category", _joined)):
        if target in table.column_names:
            table = table.set_column(table.column_names.index(target), target, clean(table[target]))
    return table


def _typed(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if kind != "float":
        return values
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values).cast(pa.float64())


def _joined(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Several categories joined by `|`: 'Beauty', "Women's", … or Action Comedy …"""
    quoted = pc.match_substring_regex(values, """^['"]""")
    bare = pc.replace_substring_regex(values, """^['"]|['"]$""", "")
    return pc.if_else(
        quoted, pc.replace_substring_regex(bare, """['"], ['"]""", "|"), pc.replace_substring(values, " ", "|")
    )
