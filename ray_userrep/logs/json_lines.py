"""JSON that is not lines, as lines: one array of objects, pretty printed or not, and lines of Python literals.

Both are parsed object by object and written anew, so that a file of any size streams; that costs some six times what
lines of JSON do, Python literals some thirty times.
"""

import ast
import codecs
import json
import re
from collections.abc import Iterator

import pyarrow as pa

from ray_userrep.logs.encodings import Again, ByteSource

_PIECE = 2**20
_OBJECT_CHARS = 64 * 2**20  # of one element, above which it is taken for a broken one
_BETWEEN = re.compile(r"[\s,]*")
_PYTHON = re.compile(rb"\s*\{\s*u?'")  # JSON has no such quotes


def json_lines(source: ByteSource) -> ByteSource:
    """A file of JSON as JSON lines; what is JSON lines already is passed through.

    Reading it raises ArrowInvalid where an array breaks off.
    """
    start = source.read(_PIECE)
    while start and not start.strip():
        start = source.read(_PIECE)
    if start.lstrip().startswith(b"["):
        return _Pieces(_elements(start.lstrip()[1:], source))
    whole = Again(start, source)
    if _PYTHON.match(start):
        return _Pieces(_literals(whole))
    return whole


class _Pieces:
    """Pieces of a text as a source, in sizes of their own."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _: int, /) -> bytes:
        return next(self._pieces, b"")


def _elements(start: bytes, source: ByteSource) -> Iterator[bytes]:
    """The elements of an array, one a line."""
    utf8, text, piece = codecs.getincrementaldecoder("utf-8")(), "", start
    while True:
        text += utf8.decode(piece, not piece)
        found, rest = _leading(text)
        if found:
            yield "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in found).encode()
        if rest.startswith("]"):
            return
        piece, last = source.read(_PIECE), not piece
        if (not piece and last) or len(rest) > _OBJECT_CHARS:
            raise pa.ArrowInvalid(f"its array of JSON breaks off at {rest[:80]!r}")
        text = rest


def _leading(text: str) -> tuple[list[object], str]:
    """The whole elements at the start of a part of an array, and what follows them."""
    decoder, found, place = json.JSONDecoder(), list[object](), 0
    while True:
        gap = _BETWEEN.match(text, place)
        place = gap.end() if gap else place
        try:
            one, place = decoder.raw_decode(text, place)
        except ValueError:
            return found, text[place:]
        found.append(one)


def _literals(source: ByteSource) -> Iterator[bytes]:
    """Lines of Python literals as lines of JSON; others stay as they are."""
    rest = b""
    while piece := source.read(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        yield b"".join(_as_json(line) + b"\n" for line in lines)
    if rest:
        yield _as_json(rest)


def _as_json(line: bytes) -> bytes:
    try:
        return json.dumps(ast.literal_eval(line.decode().strip()), ensure_ascii=False, default=str).encode()
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return line
