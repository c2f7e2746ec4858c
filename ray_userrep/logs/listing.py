"""Which files a log consists of: those at its place or that match its pattern, and the tables named beside it.

A folder is listed whole, with the members of its archives; that is one request a thousand files, and no file is opened.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.files import is_beside
from ray_userrep.logs.hive import prune
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

EMBEDDED = Path(__file__).parent / "datasets" / "online_retail" / "online_retail.parquet"
DELTA_HISTORY = "_delta_log"
Beside = Literal["items", "users"]
_WILD = frozenset("*?[")
_SHOWN = 8  # files


def log_files(config: LogsConfig) -> tuple[str, list[FileEntry]]:
    """A log's place, and its files without the tables that are named beside it.

    Raises:
        UserError: there are none.
    """
    uri, files = _listed(storage.absolute(config.uri) if config.uri is not None else str(EMBEDDED))
    if config.uri is None:  # written wherever the package was installed
        files = [file._replace(stamp=0) for file in files]
    beside = {file.uri for tables in [*named_tables(config).values(), image_files(config)] for file in tables}
    files = [file for file in files if file.uri not in beside]
    files = _of_events(config, uri, files) if config.events else files
    if not files:
        raise UserError(f"the log is empty: no files in {uri}{' but those of the tables beside it' if beside else ''}")
    return uri, prune(config, files)


def named_tables(config: LogsConfig) -> dict[Beside, list[FileEntry]]:
    """The files of the tables of items and users that are named.

    Raises:
        UserError: there is nothing at a place.
    """
    places: dict[Beside, str | None] = {"items": config.items, "users": config.users}
    found = {kind: _listed(storage.absolute(place))[1] for kind, place in places.items() if place is not None}
    empty = next((kind for kind, files in found.items() if not files), None)
    if empty is not None:
        raise UserError(f"logs.{empty}: no files in {places[empty]}")
    return found


def image_files(config: LogsConfig) -> list[FileEntry]:
    """The files that pictures of items are in, or are.

    Raises:
        UserError: there is nothing at the place.
    """
    return [] if config.images is None else storage.list_files(storage.absolute(config.images))


def log_folder(config: LogsConfig) -> str:
    """The folder that a log of one's own is in, or that its pattern begins with."""
    assert config.uri is not None, "the embedded log has no folder"
    return _pattern(storage.absolute(config.uri))[0]


def is_pattern(config: LogsConfig) -> bool:
    """Whether the log's files are named by a pattern."""
    return config.uri is not None and log_folder(config) != storage.absolute(config.uri)


def event_of(uri: str, folder: str, events: dict[str, str]) -> str | None:
    """The event that the rows of a file are of."""
    name = uri.removeprefix(folder)
    return next((event for event, pattern in events.items() if _matches(name, pattern.strip("/").split("/"))), None)


def _of_events(config: LogsConfig, folder: str, files: list[FileEntry]) -> list[FileEntry]:
    """The files that tell of an event, and the tables beside them.

    Raises:
        UserError: there is none of an event.
    """
    told = {file: event_of(file.uri, folder, config.events) for file in files}
    none = next((event for event in config.events if event not in told.values()), None)
    if none is not None:
        names = ", ".join(file.uri.removeprefix(folder).strip("/") for file in files[:_SHOWN])
        raise UserError(
            f"logs.events: no file in {folder} is {config.events[none]} for {none!r} alone; there are {names or 'none'}"
        )
    return [file for file, event in told.items() if event is not None or is_beside(file.uri)]


def _listed(uri: str) -> tuple[str, list[FileEntry]]:
    """A place, or the folder that a pattern begins with, and its files."""
    uri, pattern = _pattern(uri)
    files = [file for file in _files(uri) if _matches(file.uri.removeprefix(uri), pattern)]
    if not files and pattern:
        raise UserError(f"no file in {uri} matches {'/'.join(pattern)}")
    return uri, files


def _pattern(uri: str) -> tuple[str, list[str]]:
    """A place and what the folders and files below it are to match; a place that is there is no pattern."""
    parts = uri.split("/")
    first = next((place for place, part in enumerate(parts) if not _WILD.isdisjoint(part)), None)
    if first is None or storage.exists(uri):
        return uri, []
    return "/".join(parts[:first]) or "/", parts[first:]


def _matches(name: str, pattern: list[str]) -> bool:
    """Whether a file's place is matched part by part, or lies in a folder that is."""
    parts = name.strip("/").split("/")
    return len(parts) >= len(pattern) and all(map(fnmatchcase, parts, pattern))


def _files(uri: str) -> list[FileEntry]:
    """What a log consists of: files, those inside archives, and the history of a Delta table."""
    storage.refuse_links_out(uri)
    found = storage.list_files(uri)
    history = storage.join(uri, DELTA_HISTORY)
    if storage.exists(history):
        found += storage.list_files(history)
    packed = [storage.list_archive(file.uri) if file.uri.lower().endswith(".zip") else [file] for file in found]
    return [file for files in packed for file in files]
