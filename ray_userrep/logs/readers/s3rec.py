"""S3Rec's text layout: one line a user, `user item item …` in order; attributes and names in JSON files beside it.

The layout has order but no time: the n-th interaction of a user is put n seconds after the epoch, which keeps the order
and says nothing else. Splits by time and gaps mean nothing on it.

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
from ray_userrep.logs.ids import id_type
from ray_userrep.logs.scan import ROWS_PER_FILE
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
        UserError: there is no file of sequences, or its first line is not `user item item …`.
    """
    by_stem = {stem(file.uri): file for file in files}
    attributes = [name for name in by_stem if name.endswith(_ATTRIBUTES)]
    wanted = {f"{name.removesuffix(_ATTRIBUTES)}.txt" for name in attributes}
    found = [file for name, file in by_stem.items() if (name in wanted if wanted else name.endswith(".txt"))]
    if not found:
        raise UserError(f"no sequences in S3Rec's layout (NAME.txt) among {len(files)} files")
    mapping = _mapping(config, found)
    items = _items(by_stem, attributes, mapping.item_type) if attributes else None
    return Tables(_dataset(found, mapping), items, None)


def _mapping(config: LogsConfig, files: list[FileEntry]) -> Mapping:
    kinds: dict[str, set[pa.DataType]] = {"user": set(), "item": set()}
    for file in files:
        first = _interactions(head(file, _LINES, {"line": pa.string()}))
        if not first.num_rows:
            raise UserError(f"{file.uri} is not in S3Rec's layout: no line is `user item item …`")
        for name, seen in kinds.items():
            seen.add(id_type(first[name], name, file.uri))
    text = pa.string()
    chosen = [text if config.ids == "string" or seen != {pa.int64()} else pa.int64() for seen in kinds.values()]
    return Mapping(_COLUMNS, *chosen)


def _dataset(files: list[FileEntry], mapping: Mapping) -> ray.data.Dataset:
    """One task a file: text cannot be split."""

    def load(batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch["file"].to_pylist():
            row = number * ROWS_PER_FILE
            for part in parts(files[number]):
                for lines in blocks(part, _LINES, {"line": pa.string()}, []):
                    raw = _interactions(lines)
                    yield canonicalise(raw, mapping, files[number].uri, row)
                    row += raw.num_rows

    numbers = ray.data.from_items([{"file": n} for n in range(len(files))], override_num_blocks=len(files))
    return numbers.map_batches(load, batch_size=1, batch_format="pyarrow")


def _interactions(lines: pa.Table) -> pa.Table:
    """One row an item of each line; a user without items leaves none."""
    words = pc.split_pattern(pc.utf8_trim_whitespace(lines["line"].cast(pa.string())), " ").combine_chunks()
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


def _items(by_stem: dict[str, FileEntry], attributes: list[str], kind: pa.DataType) -> pa.Table:
    maps: dict[str, dict[str, str]] = next(
        (json.loads(read_text(by_stem[name].uri)) for name in _NAMES if name in by_stem), {}
    )
    of_item: dict[str, list[Any]] = json.loads(read_text(by_stem[attributes[0]].uri))
    names = maps.get("id2attribute", {})
    if len(names) != len({attribute for own in of_item.values() for attribute in own}):
        names = {}
    ids = list(maps.get("id2item", of_item))
    told = [[str(names.get(str(a), a)).replace("|", "/") for a in of_item.get(item, [])] for item in ids]
    columns = {"item_id": pa.array(ids).cast(kind), "category": pa.array(["|".join(one) or None for one in told])}
    described = next((file for name, file in by_stem.items() if name.endswith(".item")), None)
    if described is not None and "id2item" in maps:
        columns |= _described(described, [maps["id2item"][item] for item in ids])
    return pa.table(columns)


def _described(file: FileEntry, codes: list[str]) -> dict[str, pa.Array]:
    """Title, categories and price of a RecBole item file, in the order of the shop's own item codes."""
    table = read_whole([file], CsvFormat("\t", None, quoted=False))
    table = table.rename_columns([name.split(":")[0] for name in table.column_names])
    rows = pc.index_in(pa.array(codes), value_set=table["item_id"].combine_chunks().cast(pa.string()))
    told = {"text": pc.utf8_trim_whitespace(table["title"].cast(pa.string())).take(rows)}
    if "price" in table.column_names:
        price = table["price"].cast(pa.string()).take(rows)
        told["price"] = pc.if_else(pc.equal(price, ""), None, price).cast(pa.float64())
    if "categories" in table.column_names:  # 'Beauty', 'Makeup', …
        quoted = table["categories"].cast(pa.string()).take(rows)
        told["category"] = pc.replace_substring(pc.replace_substring_regex(quoted, "^'|'$", ""), "', '", "|")
    return {name: column.combine_chunks() for name, column in told.items()}
