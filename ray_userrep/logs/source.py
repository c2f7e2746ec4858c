"""Opening a log: finds the reader that knows the layout and hands out canonical tables.

A layout is one module in `readers/`; adding one is adding a file. What is read stays lazy: a Dataset of interactions
for Ray to stream, and the two small tables beside it.
"""

import hashlib
import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import pyarrow as pa
import ray.data

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs import readers
from ray_userrep.logs.config import LogsConfig
from ray_userrep.storage import FileEntry

EMBEDDED = Path(__file__).parent / "datasets" / "online_retail" / "online_retail.parquet"
EMBEDDED_NAME = "embedded:online_retail"
DELTA_HISTORY = "_delta_log"
_GENERAL = "tabular"


class Tables(NamedTuple):
    """What a reader makes of its files.

    `interactions` holds canonical rows, good and rejected ones (`reason`); `items` has one row an `item_id`, `users`
    one row a `user_id`, each with what else the log says, None where it says nothing.
    """

    interactions: ray.data.Dataset
    items: pa.Table | None
    users: pa.Table | None


class Reader(Protocol):
    """A module of `readers/`."""

    def recognise(self, names: list[str]) -> bool:
        """Whether files of these names, relative to the log, are of this layout."""

    def read(self, config: LogsConfig, files: list[FileEntry]) -> Tables:
        """Canonical tables of the files that belong to the layout; the others are left alone."""


class Logs(NamedTuple):
    """An opened log; `fingerprint` changes with its files' names and sizes and with how they are read."""

    uri: str
    reader: str
    fingerprint: str
    interactions: ray.data.Dataset
    items: pa.Table | None
    users: pa.Table | None


def open_logs(config: LogsConfig) -> Logs:
    """Open a log and check the first rows of each of its files; needs Ray.

    Raises:
        UserError: nothing is there, no reader knows the layout, or the files do not hold what they should.
    """
    uri = storage.absolute(config.uri) if config.uri is not None else str(EMBEDDED)
    files = _files(uri)
    if not files:
        raise UserError(f"the log is empty: no files in {uri}")
    names = [file.uri.removeprefix(uri).strip("/") or uri.rsplit("/", 1)[-1] for file in files]
    reader = config.reader or _recognise(uri, names)
    tables = _load(reader).read(config, files)
    fingerprint = _fingerprint(config, reader, list(zip(names, (file.size for file in files), strict=True)))
    return Logs(uri if config.uri is not None else EMBEDDED_NAME, reader, fingerprint, *tables)


def reader_names() -> list[str]:
    """The layouts that can be read."""
    return sorted(module.name for module in pkgutil.iter_modules(readers.__path__))


def _load(name: str) -> Reader:
    if name not in reader_names():
        raise UserError(f"logs.reader: unknown {name!r}; it takes {', '.join(reader_names())}")
    return cast(Reader, import_module(f"{readers.__name__}.{name}"))


def _recognise(uri: str, names: list[str]) -> str:
    known = [name for name in reader_names() if _load(name).recognise(names)]
    special = [name for name in known if name != _GENERAL]
    if len(special) > 1:
        raise UserError(f"{uri} could be {' or '.join(special)}: name one with logs.reader")
    if not known:
        raise UserError(
            f"no reader knows the files in {uri} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}): "
            f"name one with logs.reader: {', '.join(reader_names())}"
        )
    return (special or known)[0]


def _files(uri: str) -> list[FileEntry]:
    """What a log consists of: files, those inside archives, and the history of a Delta table."""
    found = storage.list_files(uri)
    history = storage.join(uri, DELTA_HISTORY)
    if storage.exists(history):
        found += storage.list_files(history)
    packed = [storage.list_archive(file.uri) if file.uri.lower().endswith(".zip") else [file] for file in found]
    return [file for files in packed for file in files]


def _fingerprint(config: LogsConfig, reader: str, sizes: list[tuple[str, int]]) -> str:
    key = [config.model_dump(exclude={"uri", "reader"}), reader, sizes]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
