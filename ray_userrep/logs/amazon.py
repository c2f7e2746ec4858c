"""What the three releases of the Amazon reviews share: reviews as JSON lines, ratings as CSV, metadata of the products.

A release is one file a category, and the category is the interaction's `domain`. Reviews and ratings say the same, so
that only one of the two is read. Metadata is read line by line as Python objects (its fields change type, and 2014's
lines are Python literals) in one process: minutes for the largest categories.
"""

import html
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, records
from ray_userrep.logs.files import Columns, CsvFormat, LineParser, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig, TimestampUnit
from ray_userrep.storage import FileEntry

_METADATA = "meta_"
_ROWS = 2**16
_PRICE = re.compile(r"\$?\s*(\d[\d,]*(?:\.\d+)?)")
_TEXTS = ("item_id", "text", "category", "brand")
_PRODUCTS = pa.schema([*((name, pa.string()) for name in _TEXTS), ("price", pa.float64())])


class Release(NamedTuple):
    """What is peculiar to a release.

    `log` matches names of files of reviews and ratings, with the category as `domain`; `reviews` and `ratings` map
    canonical names to theirs; `key` is the product's id in the metadata.
    """

    log: re.Pattern[str]
    reviews: dict[str, str]
    ratings: dict[str, str]
    csv: CsvFormat
    key: str
    unit: TimestampUnit


def read_release(config: LogsConfig, files: list[FileEntry], release: Release) -> Tables:
    """Canonical tables of one release; items have `text`, `category`, `brand` and `price`.

    Raises:
        UserError: there are neither reviews nor ratings, or a category is there twice.
    """
    metadata = [file for file in files if stem(file.uri).startswith(_METADATA)]
    logs = {file: found for file in files if file not in metadata and (found := release.log.fullmatch(_name(file)))}
    reviews = {file: found for file, found in logs.items() if ".json" in stem(file.uri)}
    chosen = reviews or logs
    if not chosen:
        raise UserError(f"neither reviews nor ratings of this release among {len(files)} files")
    domains = [found["domain"] for found in chosen.values()]
    twice = next((domain for domain in domains if domains.count(domain) > 1), None)
    if twice is not None:
        raise UserError(f"the interactions of {twice} are in more than one file: leave the one that is wanted")
    if config.timestamp_unit == "s":
        config = config.model_copy(update={"timestamp_unit": release.unit})
    log = scan(config, list(chosen), _layout(config, release, bool(reviews)))
    products = _products(metadata, release.key, log.mapping.item_type)
    return Tables(log.parts(), products, None, log.order)


def beside_metadata(names: list[str], logs: tuple[str, ...]) -> bool:
    """Whether a `meta_X.…` has one of the files `logs` beside it, written with `{}` for X."""
    stems = {stem(name) for name in names}
    known = [PurePosixPath(name).stem.removeprefix(_METADATA) for name in stems if name.startswith(_METADATA)]
    return any(log.format(one) in stems for one in known for log in logs)


def _name(file: FileEntry) -> str:
    """A file's name without compression suffix, as it is written."""
    return PurePosixPath(file.uri).name[: len(stem(file.uri))]


def _layout(config: LogsConfig, release: Release, reviews: bool) -> LogLayout:
    columns = {**(release.reviews if reviews else release.ratings), **config.columns}
    read: Columns = {name: pa.float64() if kind == "rating" else None for kind, name in columns.items()}
    rows = partial(_with_domain, log=release.log)
    return LogLayout({"domain": "domain", **columns}, release.csv, parser=LineParser(read, rows))


def _with_domain(rows: pa.Table, file: FileEntry, _: int, log: re.Pattern[str]) -> pa.Table:
    found = log.fullmatch(_name(file))
    assert found is not None, "only such files are read"
    return rows.append_column("domain", pa.repeat(pa.scalar(found["domain"]), rows.num_rows))


def _products(files: list[FileEntry], key: str, kind: pa.DataType) -> pa.Table | None:
    if not files:
        return None
    told = (_product(record, key) for file in files for record in records(file))
    table = pa.concat_tables(_tables(told))
    return keyed(table, "item_id", kind, files[0].uri)


def _tables(rows: Iterator[dict[str, Any]]) -> Iterator[pa.Table]:
    yield _PRODUCTS.empty_table()
    while some := list(islice(rows, _ROWS)):
        yield pa.Table.from_pylist(some, _PRODUCTS)


def _product(record: dict[str, Any], key: str) -> dict[str, Any]:
    categories = record.get("category") or record.get("categories") or [record.get("main_category")]
    return {
        "item_id": record.get(key),
        "text": _text(record.get("title")),
        "category": "|".join(dict.fromkeys(_flat(categories))) or None,
        "brand": _text(record.get("brand") or record.get("store")),
        "price": _price(record.get("price")),
    }


def _text(value: Any) -> str | None:
    return html.unescape(value).strip() or None if isinstance(value, str) else None


def _flat(value: Any) -> Iterator[str]:
    """The names in a list, or in a list of paths."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, list):
            yield from _flat(one)
        elif isinstance(one, str) and one:
            yield html.unescape(one).replace("|", "/")


def _price(value: Any) -> float | None:
    """A price; none where it is a range, or markup."""
    found = _PRICE.fullmatch(str(value))
    return float(found[1].replace(",", "")) if found else None
