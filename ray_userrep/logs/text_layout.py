"""How delimited text is laid out: what a recipe or a reader says of it, and what the first line of a file shows.

Only what is beyond doubt is taken from the first line: a separator where no other stands there, and that a line which
holds numbers and none of the names that are looked for is no header. The rest is for the recipe to say. Separators of
several characters, and runs of blanks, become one character that no text holds, for the parser's sake.
"""

import csv
import io
import re
from dataclasses import dataclass
from typing import NamedTuple

from ray_userrep.logs.names import plain
from ray_userrep.recipe.logs import LayoutConfig

BLANKS = " \t"  # the separator of lines whose fields stand apart by any number of blanks

_UNIT = "\x1f"  # ASCII's own separator of fields
_BY_NAME = {".csv": ",", ".tsv": "\t"}
_SEPARATORS = ("\t", "::", ";", "|", ",")
_WORDS = {"\t": "tabs", ",": "commas", ";": "semicolons", BLANKS: "blanks", " ": "blanks"}
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_EMPTY_LINES = re.compile(rb"[\r\n]*")
_RUN, _EDGE = re.compile(rb"[ \t]+"), re.compile(rb"[ \t]*(\r\n|\n|\r)[ \t]*")
_VALUE = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|\d{4}[-/]\d\d?[-/]\d\d?([T ].*)?")
_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a first line by which spreadsheets say the separator
_COUNTS = 3  # lines, above which it is a column of numbers
_HEADER_LINES = 16  # at most; a header of more is a quote that is never closed


@dataclass(frozen=True)
class CsvFormat:
    """How delimited text is laid out.

    None stands for: `delimiter` by the file's name and first line, `names` by the header, `quoted` unless tabs
    separate, `encoding` by the first bytes, else UTF-8; `header` by whether the first line holds numbers and none of
    the `expected` names. Without a header columns are named 0, 1, 2, …
    """

    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    quoted: bool | None = None
    quote: str = '"'
    encoding: str | None = None
    header: bool | None = True
    skip_lines: int = 0
    expected: tuple[str, ...] = ()


def csv_format(said: LayoutConfig, expected: tuple[str, ...]) -> CsvFormat:
    """What a recipe says of a log whose columns are expected to have these names."""
    quoted = {"auto": None, "none": False}.get(said.quote, True)
    quote = "'" if said.quote == "single" else '"'
    return CsvFormat(
        said.separator,
        quoted=quoted,
        quote=quote,
        encoding=said.encoding,
        header=said.header,
        skip_lines=said.skip_lines,
        expected=expected,
    )


class TextLayout(NamedTuple):
    """The layout of one file; rows begin after `start` bytes and `lines` lines.

    Where fields are `padded`, a blank follows each separator. `notes` say what was taken from the first line.
    """

    delimiter: str
    quote: str | None
    names: tuple[str, ...]
    start: int = 0
    lines: int = 0
    padded: bool = False
    notes: tuple[str, ...] = ()

    @property
    def between(self) -> str:
        """The one character that separates the fields of `unified` lines."""
        return self.delimiter if len(self.delimiter.encode()) == 1 else _UNIT

    def unified(self, lines: bytes) -> bytes:
        """Whole lines with one character between fields."""
        if self.delimiter == BLANKS:
            return _RUN.sub(_UNIT.encode(), _EDGE.sub(rb"\1", lines).strip(b" \t"))
        return lines if self.between == self.delimiter else lines.replace(self.delimiter.encode(), _UNIT.encode())


def settle(data: bytes, suffix: str, csv: CsvFormat) -> TextLayout:
    """The layout of a file with a name's suffix, given whole lines from its start."""
    excel = _EXCEL.fullmatch(text_of(_line(data, 0)).strip()) if csv.header is None else None
    counts = _num_counts(data) if csv.header is None and not csv.skip_lines else 0
    skipped = max(counts, csv.skip_lines, 1 if excel else 0)
    start = _after(data, skipped)
    line = text_of(_line(data, start))
    said = csv.delimiter or (excel[1] if excel else None)
    delimiter, note = (said, None) if said is not None else _separator(line, suffix)
    quote = csv.quote if _is_quoted(line, delimiter, csv) else None
    if delimiter == BLANKS and quote is not None and quote in line:
        delimiter = " "
    notes = [note, f"rows begin after {counts} lines of one number" if counts else None]
    told = TextLayout(delimiter, quote, csv.names or (), start, skipped, notes=tuple(filter(None, notes)))
    return told if csv.names is not None else _named(told, data, csv)


def _named(told: TextLayout, data: bytes, csv: CsvFormat) -> TextLayout:
    """The layout with the names of its columns."""
    record = _record(data, told.start, told.quote)
    fields = _split(record, told)
    if csv.header is False or (csv.header is None and _is_data(fields, csv.expected)):
        note = () if csv.header is False else (f"it has no header: its columns are 0 to {len(fields) - 1}",)
        return told._replace(names=tuple(str(place) for place in range(len(fields))), notes=(*told.notes, *note))
    return told._replace(
        names=tuple(field.strip() for field in fields),
        start=told.start + len(record),
        lines=told.lines + max(len(record.splitlines()), 1),
        padded=len(fields) > 1 and all(field[:1] == " " for field in fields[1:]),
    )


def text_of(value: bytes) -> str:
    """Bytes as text: UTF-8, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def is_numbered(names: list[str]) -> bool:
    """Whether columns are named by their places, as those of a file without a header."""
    return bool(names) and names == [str(place) for place in range(len(names))]


def _separator(line: str, suffix: str) -> tuple[str, str | None]:
    """The separator of a first line, and a note where it is not the one of the name."""
    usual = _BY_NAME.get(suffix)
    bare = re.sub(r'"[^"]*"', "quoted", line)
    whole = re.sub(r"(?<=\d),(?=\d)", "", bare)  # a comma within a number may be a decimal sign
    found = [one for one in _SEPARATORS if one in (whole if one == "," else bare)]
    if not found and "," in bare:
        found = [","]
    if not found and len(bare.split()) > 1:
        found = [BLANKS]
    if not found or usual in found or (usual is not None and len(found) > 1):
        return usual or ",", None
    return found[0], f"its columns are separated by {_WORDS.get(found[0], found[0])}"


def _is_quoted(line: str, delimiter: str, csv: CsvFormat) -> bool:
    if csv.quoted is not None:
        return csv.quoted
    # Tabs are separators that need no quotes; where every field of the first line has them, they are meant.
    fields = line.strip("\r\n").split("\t")
    return delimiter != "\t" or all(len(one) > 1 and one[0] == one[-1] == csv.quote for one in fields)


def _is_data(fields: list[str], expected: tuple[str, ...]) -> bool:
    """Whether a first line is a row: it holds a number or a day, and none of the names that are looked for."""
    names = {plain(name) for name in expected if not _VALUE.fullmatch(name)}
    numbered = fields[1:] if fields[:1] == [""] else fields  # as pandas does it, below the empty name of its index
    if not names.isdisjoint(map(plain, fields)) or (len(numbered) > 2 and is_numbered(numbered)):
        return False
    return any(_VALUE.fullmatch(field.strip()) for field in fields)


def _split(record: bytes, told: TextLayout) -> list[str]:
    text = text_of(told.unified(record)).strip("\r\n")
    if told.quote is None or told.quote not in text:
        return text.split(told.between)
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=told.between, quotechar=told.quote))


def _after(data: bytes, num_lines: int) -> int:
    """Where the first line begins that is not empty, after as many."""
    place = 0
    for _ in range(num_lines):
        place += len(_line(data, place))
    found = _EMPTY_LINES.match(data, place)
    return place if found is None else found.end()


def _num_counts(data: bytes) -> int:
    """How many lines of one number stand above lines of more: counts of what follows."""
    place, found = 0, 0
    while found <= _COUNTS and (line := _line(data, place)).strip().isdigit():
        place, found = place + len(line), found + 1
    return found if 0 < found <= _COUNTS and _line(data, place).strip() else 0


def _record(data: bytes, start: int, quote: str | None) -> bytes:
    """The first record, of several lines where its quotes close later."""
    end = first = start + len(_line(data, start))
    for _ in range(_HEADER_LINES):
        if quote is None or data[start:end].count(quote.encode()) % 2 == 0:
            return data[start:end]
        end += len(_line(data, end))
    return data[start:first]


def _line(data: bytes, start: int) -> bytes:
    found = _LINE.match(data, start)
    return b"" if found is None else found[0]
