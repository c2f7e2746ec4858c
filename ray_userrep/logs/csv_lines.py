"""CSV whose quotes can be trusted: a quote that is never closed, or closed in another row, costs its line alone.

A parser of CSV takes all lines up to the next quote for one field, so that a title that begins with a quote swallows
the rows below it. Here each quoted field must end where a field ends; a line where it does not is set aside, and the
next line is looked at by itself. Quotes inside a field that does not begin with one are data. A record of several lines
of which each could be a row is set aside whole: nobody can tell whether it is one row or many. Blocks without quotes
are only counted; others cost a regular expression, some hundred nanoseconds a field.

Lines that are not UTF-8 and have too few or too many fields are set aside here too: Arrow would fail to show them.
"""

import io
import re
from collections.abc import Iterable, Iterator

_RECORD_BYTES = 2**20  # no record of several lines is longer
_BREAK = re.compile(rb"\r\n|\n|\r")
# Atomic groups, where `(?:…)*+` would read better: Python before 3.11.5 matches that wrongly (gh-106052).
_FIELD = rb"%(q)b[^%(q)b]*+(?>(?:%(q)b%(q)b[^%(q)b]*+)*)%(q)b"
_FIELD_IN_LINE = rb"%(q)b[^%(q)b\r\n]*+(?>(?:%(q)b%(q)b[^%(q)b\r\n]*+)*)%(q)b"


class SoundLines(io.RawIOBase):
    """Blocks of whole lines as a stream without unsound lines, which are added to `malformed` with their numbers.

    `num_fields` is how many a line has, `first_line` the number of the first; no `quote`: there are none. What is not
    the `whole` file may end within a quoted field, which is left out then.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        delimiter: str,
        quote: str | None,
        malformed: list[str],
        num_fields: int,
        first_line: int = 1,
        whole: bool = True,
    ) -> None:
        self._delimiter, self._quote = delimiter.encode(), (quote or "").encode()
        self._malformed, self._whole = malformed, whole
        mark = self._quote or b'"'
        line, record = (_record(self._delimiter, mark, field % {b"q": mark}) for field in (_FIELD_IN_LINE, _FIELD))
        self._lines, self._record = re.compile(b"(?>(?:%b)*)" % line), re.compile(record)
        self._quoted = re.compile(_FIELD % {b"q": mark})
        self._line, self._num_fields = first_line, num_fields
        self._pieces, self._piece = self._sound(blocks), memoryview(b"")

    def readable(self) -> bool:
        """It can be read, once."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill what the next piece fills."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def _sound(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        rest = b""
        for block in blocks:
            data = rest + block
            kept, rest = self._split(data, last=False)
            yield b"".join(kept)
        if rest and self._whole:
            kept, _ = self._split(rest if _ends(rest) else rest + b"\n", last=True)
            yield b"".join(kept)

    def _split(self, data: bytes, last: bool) -> tuple[list[bytes], bytes]:
        """The sound lines, and the record at the end that may go on in the next block."""
        if not self._quote or self._quote not in data:
            return list(self._shown(data)), b""
        kept, place = list[bytes](), 0
        while place < len(data):
            lines, record = self._lines.match(data, place), self._record.match(data, place)
            if lines is not None and lines.end() > place:
                kept += self._shown(lines.group())
                place = lines.end()
            elif record is not None and self._count(record.group()) == self._num_fields:
                kept += self._set_aside(record.group()) if self._swallows(record.group()) else self._shown(record[0])
                place = record.end()
            elif record is None and not last and self._goes_on(data[place:]):
                return kept, data[place:]
            else:
                found = _BREAK.search(data, place)
                end = found.end() if found else len(data)
                kept += self._set_aside(data[place:end])
                place = end
        return kept, b""

    def _goes_on(self, rest: bytes) -> bool:
        """Whether a record may be whole once the next block is there."""
        if len(rest) > _RECORD_BYTES:
            return False
        closed = self._record.match(rest + self._quote + b"\n")
        return not _ends(rest) or (closed is not None and closed.end() > len(rest))

    def _count(self, record: bytes) -> int:
        bare = self._quoted.sub(b"", record) if self._quote else record
        return bare.count(self._delimiter) + 1

    def _swallows(self, record: bytes) -> bool:
        """Whether each line of a record could be a row: as many fields as the log, the same one always a number."""
        rows = [line.split(self._delimiter) for line in record.splitlines()]
        if any(len(row) != self._num_fields for row in rows):
            return False
        return len(rows) > 2 or any(all(value[:1].isdigit() for value in column) for column in zip(*rows, strict=True))

    def _shown(self, lines: bytes) -> Iterator[bytes]:
        """The lines, less those that Arrow could neither take nor show."""
        if _is_utf8(lines):
            self._line += lines.count(b"\n")
            yield lines
            return
        for line in lines.splitlines(keepends=True):
            if line.strip() and not _is_utf8(line) and self._count(line) != self._num_fields:
                yield from self._set_aside(line)
            else:
                self._line += 1
                yield line

    def _set_aside(self, lines: bytes) -> list[bytes]:
        """Note each line; what stays of them are empty lines, which no parser takes for rows."""
        for line in lines.splitlines():
            self._malformed.append(f"line {self._line}: {line.decode(errors='replace')}")
            self._line += 1
        return [b"\n"] * len(lines.splitlines())


def _record(delimiter: bytes, quote: bytes, quoted: bytes) -> bytes:
    """The pattern of a record with its end of line; a field either is quoted or does not begin with a quote."""
    comma = re.escape(delimiter)
    field = rb"(?>(?:%b|[^%b\r\n%b][^\r\n%b]*+)?)" % (quoted, quote, comma, comma)
    return rb"%b(?>(?:%b%b)*)(?:%b)" % (field, comma, field, _BREAK.pattern)


def _ends(data: bytes) -> bool:
    return data.endswith((b"\n", b"\r"))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
