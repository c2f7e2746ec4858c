"""Numbers written as text, as prices and ratings are: what they say, and which values were given and are none.

A value that cannot be read is left out and not guessed at: 1.234 may be one or a thousand. It is counted by column and
shown, as a price that is missing in silence is worse than one that is known to be. `NA`, `null` and blanks are no
values (see `ids`) and not counted.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, assert_never

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from ray_userrep.logs.ids import is_text, named

EXAMPLES = 3

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = re.compile(r"[+-]?[\d.' ]*,\d+")
_SHOWN = 60  # characters of a value


class Unread(BaseModel):
    """The values of a column that are not what is wanted there: how many, and the first ones with their places."""

    count: int
    examples: list[str]
    wanted: Literal["numbers", "pictures"] = "numbers"


def read_numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as float64, blanks around it left aside; null where it is no number."""
    text = pc.utf8_trim_whitespace(text.cast(pa.string()))
    return pc.if_else(pc.match_substring_regex(text, _NUMBER), text, pa.scalar(None, pa.string())).cast(pa.float64())


def unread(text: pa.ChunkedArray, found: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of which no number was found, null where one was, or none was given."""
    if found.null_count == text.null_count:
        return pa.chunked_array([pa.nulls(len(text), pa.string())])
    given = named(text.cast(pa.string()))
    return pc.if_else(pc.is_null(found), pc.utf8_slice_codeunits(given, 0, _SHOWN), pa.scalar(None, pa.string()))


def with_numbers(table: pa.Table, column: str, place: str) -> tuple[pa.Table, Unread | None]:
    """A table whose column, where it is text, holds numbers; and what of it could not be read."""
    if column not in table.column_names or not is_text(table[column].type):
        return table, None
    found = read_numbers(table[column])
    lost = unread(table[column], found).drop_null()
    table = table.set_column(table.column_names.index(column), column, found)
    examples = [f"{place}: {value!r}" for value in lost[:EXAMPLES].to_pylist()]
    return table, Unread(count=len(lost), examples=examples) if len(lost) else None


def joined(found: Iterable[Mapping[str, Unread]]) -> dict[str, Unread]:
    """Counts by column added up; the first examples are kept."""
    total: dict[str, Unread] = {}
    for one in found:
        for name, more in one.items():
            before = total.get(name, Unread(count=0, examples=[]))
            examples = [*before.examples, *more.examples][:EXAMPLES]
            total[name] = Unread(count=before.count + more.count, examples=examples, wanted=more.wanted)
    return dict(sorted(total.items()))


def told(column: str, lost: Unread) -> str:
    """What could not be read of a column, where, and what to do about it, in a line."""
    values = "value" if lost.count == 1 else "values"
    return (
        f"{column}: {lost.count:,} {values} cannot be read as {lost.wanted}, as {'; '.join(lost.examples)}: "
        f"{_cure(lost)}"
    )


def _cure(lost: Unread) -> str:
    match lost.wanted:
        case "numbers":
            if any(_COMMA.search(example) for example in lost.examples):
                return "decimal commas are read with logs.layout.decimal comma"
            return "write plain numbers, such as 1234.5"
        case "pictures":
            return "these items are without one; write JPEG, PNG, WebP, GIF or BMP"
        case never:
            assert_never(never)
