"""Numbers with a comma for a decimal sign, as spreadsheets write them in most of Europe.

`1,234` is one number or another; `12,50` is beyond doubt. What the first rows of a log show holds for all of it.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.ids import is_text

_COMMA = r"^\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),(\d{1,2}|\d{4,})\s*$"  # three digits may be thousands
_POINT = r"^\s*[+-]?\d*\.\d+\s*$"
_NUMBER = r"^\s*[+-]?(\d{1,3}(\.\d{3})+(,\d+)?|\d*,\d+)\s*$"


def has_comma(values: pa.ChunkedArray) -> bool:
    """Whether a text column holds a number with a decimal comma, and none with a point."""
    if not is_text(values.type):
        return False
    comma, point = (pc.any(pc.match_substring_regex(values.cast(pa.string()), one)).as_py() for one in (_COMMA, _POINT))
    return bool(comma and not point)


def pointed(table: pa.Table, column: str, decimal: str) -> pa.Table:
    """A whole table with points for the commas of a column of numbers, by `decimal`: `auto`, `point` or `comma`."""
    shown = decimal == "auto" and column in table.column_names and has_comma(table[column])
    return with_points(table, [column]) if shown or decimal == "comma" else table


def with_points(raw: pa.Table, columns: Iterable[str]) -> pa.Table:
    """The table with points for decimal commas in the numbers of some columns, where they are text."""
    for name in columns:
        if name in raw.column_names and is_text(raw[name].type):
            text = raw[name].cast(pa.string())
            plain = pc.replace_substring(pc.replace_substring(text, ".", ""), ",", ".")
            number = pc.match_substring_regex(text, _NUMBER)
            raw = raw.set_column(raw.column_names.index(name), name, pc.if_else(number, plain, text))
    return raw
