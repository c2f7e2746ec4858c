"""Small logs in every format, damaged, and read in this process as preparation's tasks read them."""

import csv
import gzip
import io
import json
import random
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuzzing.mutations import BYTES, damage
from fuzzing.outcomes import FINE, OTHER, SET_ASIDE
from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import is_beside
from ray_userrep.logs.reading import LogLayout
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import unknown_files
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

_LAYOUT = LogLayout({name: name for name in (*REQUIRED, *OPTIONAL)})
_ROWS, _BEGIN = 60, 1_700_000_000
_FORMATS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "zip")


def log_case(seed: int, scratch: Path, number: int) -> str:
    """Rows that are read must have been written, and the others be counted."""
    rng = random.Random(f"logs {seed} {number}")
    folder = scratch / f"log-{number}"
    rows = [_row(rng, n) for n in range(_ROWS)]
    try:
        _write(rng, folder, rows)
        if rng.random() < 0.7:
            damage(rng, folder)
        good, num_rejected = _read(folder)
        written = Counter(_as_read(row) for row in rows)
        if good == written:
            return FINE
        return SET_ASIDE if good <= written and num_rejected else OTHER
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(rng: random.Random, number: int) -> dict[str, Any]:
    item, price = f"i{rng.randrange(20)}", round(rng.random() * 100, 2)
    return {"user_id": number % 7, "item_id": item, "timestamp": _BEGIN + number, "event": "buy", "price": price}


def _as_read(row: dict[str, Any]) -> tuple[Any, ...]:
    return str(row["user_id"]), row["item_id"], row["timestamp"] * 10**6, row["event"], row["price"]


def _write(rng: random.Random, folder: Path, rows: list[dict[str, Any]]) -> None:
    """The log in two files of one format, tables beside it, and now and then hands that were at the text."""
    folder.mkdir(parents=True)
    kind = rng.choice(_FORMATS)
    for name, part in (("a", rows[: _ROWS // 2]), ("b", rows[_ROWS // 2 :])):
        _write_file(rng, folder / f"{name}.{kind}", part)
    (folder / "items.csv").write_text("item_id,text\n" + "".join(f"i{n},thing {n}\n" for n in range(20)))
    (folder / "users.csv").write_text("user_id,country\n" + "".join(f"{n},A\n" for n in range(7)))


def _write_file(rng: random.Random, path: Path, rows: list[dict[str, Any]]) -> None:
    by_hand = rng.random() < 0.3
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        pq.write_table(_swapped_columns(rng, table) if by_hand else table, path)
    elif path.suffix == ".jsonl":
        path.write_bytes(_changed(rng, "".join(json.dumps(row) + "\n" for row in rows).encode(), by_hand))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.csv", _changed(rng, _csv(rows, ","), by_hand))
    else:
        data = _changed(rng, _csv(rows, "\t" if path.suffix == ".tsv" else ","), by_hand)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _csv(rows: list[dict[str, Any]], separator: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([[*rows[0]], *(row.values() for row in rows)])
    return text.getvalue().encode()


def _changed(rng: random.Random, data: bytes, by_hand: bool) -> bytes:
    return rng.choice(BYTES)(rng, data) if by_hand else data


def _swapped_columns(rng: random.Random, table: pa.Table) -> pa.Table:
    """Two columns under each other's names, or one as text."""
    names = table.column_names
    first, second = rng.sample(range(len(names)), 2)
    if rng.random() < 0.5:
        return table.set_column(first, names[first], table.column(first).cast(pa.string()))
    names[first], names[second] = names[second], names[first]
    return table.rename_columns(names)


def _read(folder: Path) -> tuple[Counter[tuple[Any, ...]], int]:
    """The good rows of a log and the number of others; the tables beside it are read too."""
    config = LogsConfig(uri=str(folder))
    found = scan(config, unknown_files(config, {}), _LAYOUT)
    rows = pa.concat_tables([table for table, _ in found.tables([])], promote_options="default")
    kinds = {"item_id": found.mapping.item_type, "user_id": found.mapping.user_type}
    for file in list_files(str(folder)):
        if is_beside(file.uri):
            key = "item_id" if file.uri.endswith("items.csv") else "user_id"
            table = read_whole([file], _LAYOUT.csv)
            if key not in table.column_names:
                raise UserError(f"{file.uri} has no column {key!r}")
            keyed(table, key, kinds[key], file.uri)
    good = rows.filter(rows.column("reason").is_null())
    times = good.column("timestamp").cast(pa.int64()).to_pylist()
    users = [str(user) for user in good.column("user_id").to_pylist()]
    items, events, prices = (_column(good, name) for name in ("item_id", "event", "price"))
    return Counter(zip(users, items, times, events, prices, strict=True)), rows.num_rows - good.num_rows


def _column(table: pa.Table, name: str) -> list[Any]:
    return table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows
