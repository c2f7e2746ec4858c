"""Opening a log: finds the reader that knows the layout and hands out canonical tables.

A layout is one module in `readers/`; adding one is adding a file. What is read stays lazy: parts of the interactions
that tasks stream, and the small tables beside them.
"""

import hashlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, Protocol, cast

import pyarrow as pa

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs import readers
from ray_userrep.logs.decimals import pointed
from ray_userrep.logs.files import is_beside
from ray_userrep.logs.listing import image_files, log_files, named_tables
from ray_userrep.logs.numbers import Unread, with_numbers
from ray_userrep.logs.parts import Interactions, schema_of
from ray_userrep.logs.pictures import IMAGE, named_pictures, usable_pictures, with_pictures
from ray_userrep.recipe.logs import LayoutConfig, LogsConfig, Order
from ray_userrep.storage import FileEntry

EMBEDDED_NAME = "embedded:online_retail"
_GENERAL = "tabular"


class Tables(NamedTuple):
    """What a reader makes of its files.

    `interactions` holds canonical rows, good and rejected ones (`reason`); `items` has one row an `item_id`, `users`
    one row a `user_id`, each with what else the log says, None where it says nothing; so have `relations` one row two
    users, `user_id` and `other_id`, and perhaps a `kind`. Where the order is that of the rows, the times say it and
    nothing else.
    """

    interactions: Interactions
    items: pa.Table | None
    users: pa.Table | None
    order: Order
    relations: pa.Table | None = None


class Reader(Protocol):
    """A module of `readers/`."""

    def recognise(self, names: list[str]) -> bool:
        """Whether files of these names, relative to the log, are of this layout."""

    def read(self, config: LogsConfig, files: list[FileEntry]) -> Tables:
        """Canonical tables of the files that belong to the layout; the others are left alone."""


class Logs(NamedTuple):
    """An opened log; `fingerprint` changes with its files' names, sizes and stamps and with how they are read.

    `files` are all files of the log, also those that were left out as known. More damage than `max_quarantined_share`,
    of its rows or of its files, is too much to go on; so are more items or users than `max_unmatched_share` of which
    the tables beside it say nothing.
    """

    uri: str
    reader: str
    fingerprint: str
    interactions: Interactions
    items: pa.Table | None
    users: pa.Table | None
    files: Sequence[FileEntry] = ()
    max_quarantined_share: float = 1.0
    max_unmatched_share: float = 1.0
    order: Order = "time"
    unread: Mapping[str, Unread] = {}  # of the tables beside the log
    relations: pa.Table | None = None

    @property
    def num_bytes(self) -> int:
        """The size of its files as they are stored."""
        return sum(file.size for file in self.files)


def open_logs(config: LogsConfig, known: Mapping[str, FileEntry] | None = None) -> Logs:
    """Open a log and check the first rows of each of its files.

    Files that are known already are left out, other than the tables beside a log, which may tell of new items.

    Raises:
        UserError: nothing is there, no reader knows the layout, or the files do not hold what they should.
    """
    uri, files = log_files(config)
    names = [file.uri.removeprefix(uri).strip("/") or uri.rsplit("/", 1)[-1] for file in files]
    plain = _for_plain_tables(config)
    reader = config.reader or (_recognise(uri, names) if plain is None else _GENERAL)
    if reader != _GENERAL and plain is not None:
        raise UserError(f"{plain} is for plain tables, and logs.reader {reader} knows its own: leave one of them out")
    new = [file for file in files if known is None or file.uri not in known or is_beside(file.uri)]
    interactions, items, users, order, relations = _load(reader).read(config, new)
    for kind, tables in named_tables(config).items():
        names += [f"{kind}/{file.uri.rsplit('/', 1)[-1]}" for file in tables]
        files += tables
    pictures = image_files(config)
    names += [f"images/{file.uri.rsplit('/', 1)[-1]}" for file in pictures]
    files += pictures
    contents = [(name, file.size, file.stamp) for name, file in zip(names, files, strict=True)]
    fingerprint = _fingerprint(config, reader, contents)
    shown = uri if config.uri is not None else EMBEDDED_NAME
    if config.images is not None:
        kind = schema_of(interactions).field("item_id").type if items is None else items["item_id"].type
        items = with_pictures(items, named_pictures(storage.absolute(config.images), kind))
    unread: dict[str, Unread] = {}
    if items is not None:
        items, no_price = with_numbers(pointed(items, "price", config.layout.decimal), "price", "table of items")
        items, no_picture = usable_pictures(items)
        lost = {"price of items": no_price, f"{IMAGE} of items": no_picture}
        unread = {name: values for name, values in lost.items() if values is not None}
    shares = config.max_quarantined_share, config.max_unmatched_share
    return Logs(shown, reader, fingerprint, interactions, items, users, files, *shares, order, unread, relations)


def unknown_files(config: LogsConfig, known: Mapping[str, FileEntry]) -> list[FileEntry]:
    """The files of a log that are not known, the tables beside it apart.

    Raises:
        UserError: nothing is there, or a known file is not what it was.
    """
    _, files = log_files(config)
    log = [file for file in files if not is_beside(file.uri)]
    changed = next((file for file in log if known.get(file.uri, file) != file), None)
    if changed is not None:
        before = known[changed.uri].size
        told = f"has {changed.size:,} bytes, and had {before:,} when it was prepared"
        if changed.size == before:
            told = "was written again since it was prepared"
        raise UserError(
            f"{changed.uri} {told}: only new files can be appended; leave out corpus.append to prepare the whole log "
            "again"
        )
    return [file for file in log if file.uri not in known]


def _for_plain_tables(config: LogsConfig) -> str | None:
    """The first field that is set of those that only plain tables have."""
    asked = {
        "logs.layout": config.layout != LayoutConfig(),
        "logs.items": config.items is not None,
        "logs.users": config.users is not None,
        "logs.events": bool(config.events),
    }
    return next((name for name, is_set in asked.items() if is_set), None)


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
            f"name one with logs.reader: {', '.join(reader_names())}; tabular reads any file as delimited text"
        )
    return (special or known)[0]


def _fingerprint(config: LogsConfig, reader: str, contents: list[tuple[str, int, int]]) -> str:
    left_out = {"uri", "items", "users", "images", "events", "reader", "max_quarantined_share", "max_unmatched_share"}
    key = [config.model_dump(mode="json", exclude=left_out), reader, contents, *filter(None, [config.events])]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
