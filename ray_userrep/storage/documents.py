"""Small files read and written whole: text in UTF-8, and JSON."""

import json
from typing import Any

from ray_userrep.errors import UserError
from ray_userrep.storage.failures import user_errors
from ray_userrep.storage.files import open_stream, pieces, read_bytes, write_bytes
from ray_userrep.storage.uri import absolute


def append_local(uri: str, text: str) -> None:
    """Write text behind what a file on this machine's disk holds."""
    with user_errors(uri), open(absolute(uri), "a", encoding="utf-8") as file:
        file.write(text)


def read_text(uri: str) -> str:
    """A text file's content, decompressed as its name says.

    Raises:
        UserError: the file is missing or is not UTF-8.
    """
    with user_errors(uri), open_stream(uri) as source:
        data = b"".join(pieces(source))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{uri} is not text in UTF-8: {error}") from error


def write_text(uri: str, text: str) -> None:
    """Write a text file whole, in UTF-8, over what was there."""
    write_bytes(uri, text.encode())


def read_json(uri: str) -> Any:
    """A JSON document.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(read_bytes(uri))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or nested beyond sense
        if isinstance(error, UserError):
            raise
        raise UserError(f"{uri} is not JSON: {error}") from error


def read_object(uri: str) -> dict[str, Any]:
    """A JSON document that is an object.

    Raises:
        UserError: the file is missing or is something else.
    """
    found = read_json(uri)
    if not isinstance(found, dict):
        raise UserError(f"{uri} is a JSON {type(found).__name__}, an object is needed")
    return found


def write_json(uri: str, obj: Any) -> None:
    """Write plain values as an indented JSON document, over what was there."""
    write_bytes(uri, json_bytes(obj))


def json_bytes(obj: Any) -> bytes:
    """What a file of plain values holds."""
    return (json.dumps(obj, indent=2, ensure_ascii=False) + "\n").encode()
