"""S3Rec's text layout: one line a user, `user item item …` in order; attributes and names in JSON files beside it.

The layout has order but no time: the n-th interaction of a user is put n seconds after the epoch, which keeps the order
and says nothing else. Splits by time and gaps mean nothing on it. Ids of one data set mean nothing in another, so that
a log is one file of sequences; names are taken from its own folder only.

Items get their attributes as category: by name where a `datamaps.json` names exactly as many as the items have (the
name files that go around for the Amazon sets number other attributes), by number otherwise. A RecBole `.item` file
beside them gives titles, prices and categories instead.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import Mapping, canonicalise
from ray_userrep.logs.config import LogsConfig
from ray_userrep.logs.dimensions import read_whole
from ray_userrep.logs.files import CsvFormat, blocks, head, parts, stem
from ray_userrep.logs.ids import convert_ids, id_type
from ray_userrep.logs.source import Tables
from ray_userrep.storage import FileEntry, read_text

_LINES = CsvFormat("\x01", ("line",), quoted=False)
_COLUMNS = {"user_id": "user", "item_id": "item", "timestamp": "second"}
_ATTRIBUTES = "_item2attributes.json"
_NAMES = ("datamaps_with_attributes.json", "datamaps.json")


def recognise(names: list[str]) -> bool:
    """A `NAME.txt` beside `NAME_item2attributes.json`."""
    stems = {stem(name) for name in names}
    return any(f"{name.removesuffix(_ATTRIBUTES)}.txt" in stems for name in stems if name.endswith(_ATTRIBUTES))


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of the sequences; items have `category`, and `text` and `price` where they are told.

    Raises:
        UserError: there is not exactly one file of sequences, or no line of it is `user item item …`.
    """
    if config.columns:
        raise UserError(f"logs.columns: S3Rec's layout has no columns to map, got {config.columns}")
    if config.from_date is not None or config.to_date is not None:
        raise UserError("logs.from_date, logs.to_date: S3Rec's layout has no times to choose days by")
    attributes = {stem(file.uri): file for file in files if stem(file.uri).endswith(_ATTRIBUTES)}
    wanted = {f"{name.removesuffix(_ATTRIBUTES)}.txt" for name in attributes}
    found = [file for file in files if (stem(file.uri) in wanted if wanted else stem(file.uri).endswith(".txt"))]
    if len(found) != 1:
        names = ", ".join(file.uri.rsplit("/", 1)[-1] for file in found[:5]) or "none"
        raise UserError(
            f"one file of sequences in S3Rec's layout (NAME.txt) is needed, {len(files)} files hold {names}: "
            "put each data set into a folder of its own"
        )
    mapping = _mapping(config, found[0])
    own = attributes.get(f"{stem(found[0].uri).removesuffix('.txt')}{_ATTRIBUTES}")
    items = _items(found[0], own, files, mapping.item_type) if own is not None else None
    return Tables(_dataset(found[0], mapping), items, None)


def _mapping(config: LogsConfig, file: FileEntry) -> Mapping:
    first = _interactions(head(file, _LINES, {"line": pa.string()}))
    if not first.num_rows:
        raise UserError(f"{file.uri} is not in S3Rec's layout: no line is `user item item …`")
    kinds = [
        pa.string() if config.ids == "string" else id_type(first[name], name, file.uri) for name in ("user", "item")
    ]
    return Mapping(_COLUMNS, *kinds)


def _dataset(file: FileEntry, mapping: Mapping) -> ray.data.Dataset:
    """One task: text cannot be split."""

    def load(_: pa.Table) -> Iterator[pa.Table]:
        row = 0
        for part in parts(file):
            for lines in blocks(part, _LINES, {"line": pa.string()}, []):
                raw = _interactions(lines)
                yield canonicalise(raw, mapping, file.uri, row)
                row += raw.num_rows

    return ray.data.from_items([{"file": file.uri}]).map_batches(load, batch_size=1, batch_format="pyarrow")


def _interactions(lines: pa.Table) -> pa.Table:
    """One row an item of each line; a user without items leaves none."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines["line"].cast(pa.string()))).combine_chunks()
    sizes = np.maximum(words.value_lengths().fill_null(0).to_numpy() - 1, 0)
    offsets = words.offsets.to_numpy()[:-1]
    place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.repeat(offsets, sizes)
    return pa.table(
        {
            "user": words.values.take(pa.array(first)),
            "item": words.values.take(pa.array(first + 1 + place)),
            "second": pa.array(place.astype(np.int64)),
        }
    )


def _items(sequences: FileEntry, attributes: FileEntry, files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    folder = sequences.uri.rsplit("/", 1)[0]
    beside = {stem(file.uri): file for file in files if file.uri.rsplit("/", 1)[0] == folder}
    maps: dict[str, dict[str, str]] = next((_json(beside[name]) for name in _NAMES if name in beside), {})
    of_item: dict[str, list[Any]] = _json(attributes)
    names = maps.get("id2attribute", {})
    if len(names) != len({attribute for own in of_item.values() for attribute in own}):
        names = {}
    ids = list(maps.get("id2item", of_item))
    told = [[str(names.get(str(a), a)).replace("|", "/") for a in of_item.get(item, [])] for item in ids]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "item_id": convert_ids(pa.chunked_array([pa.array(ids)]), kind, "item", attributes.uri),
        "category": pa.array(["|".join(one) or None for one in told]),
    }
    described = next((file for file in files if stem(file.uri).endswith(".item")), None)
    if described is not None and "id2item" in maps:
        columns |= _described(described, [maps["id2item"][item] for item in ids])
    return pa.table(columns)


def _json(file: FileEntry) -> Any:
    """The document of a JSON file, compressed or not.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(read_text(file.uri))
    except ValueError as error:
        raise UserError(f"{file.uri} is not JSON: {error}") from error


def _described(file: FileEntry, codes: list[str]) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Title, categories and price of a RecBole item file, in the order of the shop's own item codes."""
    table = read_whole([file], CsvFormat("\t"))
    table = table.rename_columns([name.split(":")[0] for name in table.column_names])
    rows = pc.index_in(pa.array(codes), value_set=table["item_id"].combine_chunks().cast(pa.string()))
    source = {name: table[name].cast(pa.string()).take(rows) for name in table.column_names}
    told = {}
    if "title" in source:
        told["text"] = pc.utf8_trim_whitespace(source["title"])
    if "price" in source:
        told["price"] = pc.if_else(pc.equal(source["price"], ""), None, source["price"]).cast(pa.float64())
    if "categories" in source:  # 'Beauty', "Women's", …
        bare = pc.replace_substring_regex(source["categories"], """^['"]|['"]$""", "")
        told["category"] = pc.replace_substring_regex(bare, """['"], ['"]""", "|")
    return told
