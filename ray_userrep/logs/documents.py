"""JSON as Python objects: whole documents, and lines of records whose fields change type from line to line.

For the small tables beside a log, whose files no column reader takes: metadata where a price is now a number and now
text, or Python literals that only look like JSON. It is slow (some 50,000 lines a second, Python literals a tenth of
that) and holds one line at a time; interactions never go this way.
"""

import ast
import io
import json
from collections.abc import Iterator
from typing import Any

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.storage import FileEntry

_BUFFER = 2**20


def read_document(file: FileEntry) -> Any:
    """The content of a JSON file, compressed or not.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(storage.read_text(file.uri))
    except ValueError as error:
        raise UserError(f"{file.uri} is not JSON: {error}") from error


def records(file: FileEntry) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line, as JSON or as Python literals, compressed or not.

    Raises:
        UserError: a line is neither.
    """
    with storage.user_errors(file.uri), storage.open_stream(file.uri, buffer_size=_BUFFER) as source:
        for number, line in enumerate(io.TextIOWrapper(source, encoding="utf-8", errors="replace"), 1):
            if line.strip():
                yield _record(line, f"{file.uri}, line {number}")


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        try:
            found = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise UserError(f"{place}: neither JSON nor a Python literal: {line.strip()[:80]!r}") from error
    if not isinstance(found, dict):
        raise UserError(f"{place}: an object is needed, not {line.strip()[:80]!r}")
    return found
