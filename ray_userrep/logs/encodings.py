"""Text files as UTF-8, whatever they are written in: by the recipe's word, or by what the first bytes say.

A byte order mark is beyond doubt, and so is a zero in every other byte, which text of UTF-16 has and no other has.
Nothing else is guessed: Latin-1 and its relatives differ in what nobody can tell by looking.
"""

import codecs
from typing import Protocol

_LOOKED_AT = 4096  # bytes, even so that halves of UTF-16 stay apart
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class ByteSource(Protocol):
    """What text is read from, front to back."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, about as many; none at the end."""


def encoding_of(start: bytes) -> str:
    """The encoding that the first bytes of a file show, UTF-8 where they show none."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    if len(start) > 1 and not any(start[1::2]):
        return "utf-16-le"
    return "utf-16-be" if len(start) > 1 and not any(start[::2]) else "utf-8"


def as_utf8(source: ByteSource, encoding: str | None) -> ByteSource:
    """A text in an encoding (None: as its first bytes show) as UTF-8, without a byte order mark.

    Reading it raises UnicodeDecodeError where it is not in that encoding; UTF-8 is passed through unchecked.
    """
    start = source.read(_LOOKED_AT)
    name = codecs.lookup(encoding or encoding_of(start)).name
    if name in ("utf-8", "utf-8-sig"):
        return Again(start.removeprefix(codecs.BOM_UTF8), source)
    return _Recoded(Again(start, source), codecs.getincrementaldecoder(name)())


class Again:
    """A source from its start, whose first bytes have been looked at."""

    def __init__(self, start: bytes, source: ByteSource) -> None:
        self._start, self._source = start, source

    def read(self, size: int, /) -> bytes:
        """The next bytes, the first ones once more."""
        start, self._start = self._start, b""
        return start + self._source.read(size) if start else self._source.read(size)


class _Recoded:
    def __init__(self, source: ByteSource, decoder: codecs.IncrementalDecoder) -> None:
        self._source, self._decoder = source, decoder

    def read(self, size: int, /) -> bytes:
        while data := self._source.read(size):
            if text := self._decoder.decode(data):
                return text.removeprefix("\ufeff").encode()
        return self._decoder.decode(b"", True).encode()
