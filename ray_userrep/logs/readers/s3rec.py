"""S3Rec's text layout: one line a user, `user item item …` in order; attributes and names in JSON files beside it.

The layout has order but no time: the n-th interaction of a user is put n seconds after the epoch, which keeps the order
and says nothing else. Splits by time and gaps mean nothing on it. Ids of one data set mean nothing in another, so that
a log is one file of sequences; names are taken from its own folder only.

Items get their attributes as category: by name where a `datamaps.json` names exactly as many as the items have (the
name files that go around for the Amazon sets number other attributes), by number otherwise. A RecBole `.item` file
beside them gives titles, categories and all other columns instead.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import described, read_atomic, read_document
from ray_userrep.logs.files import stem
from ray_userrep.logs.ids import convert_ids
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import histories, text_lines, unroll
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_ATTRIBUTES = "_item2attributes.json"
_P5 = ("sequential.txt", "sequential_data.txt")
_NAMES = ("datamaps_with_attributes.json", "datamaps.json")


def recognise(names: list[str]) -> bool:
    """A `NAME.txt` beside `NAME_item2attributes.json`, or P5's `sequential.txt` beside `datamaps.json`."""
    stems = {stem(name) for name in names}
    if "datamaps.json" in stems and not stems.isdisjoint(_P5):
        return True
    return any(f"{name.removesuffix(_ATTRIBUTES)}.txt" in stems for name in stems if name.endswith(_ATTRIBUTES))


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of the sequences; items have `category`, and `text` and `price` where they are told.

    Raises:
        UserError: there is not exactly one file of sequences, or no line of it is `user item item …`.
    """
    if config.columns:
        raise UserError(f"logs.columns: S3Rec's layout has no columns to map, got {config.columns}")
    attributes = {stem(file.uri): file for file in files if stem(file.uri).endswith(_ATTRIBUTES)}
    wanted = {f"{name.removesuffix(_ATTRIBUTES)}.txt" for name in attributes}
    wanted = wanted or {stem(file.uri) for file in files}.intersection(_P5)
    found = [file for file in files if (stem(file.uri) in wanted if wanted else stem(file.uri).endswith(".txt"))]
    if len(found) != 1:
        names = ", ".join(file.uri.rsplit("/", 1)[-1] for file in found[:5]) or "none"
        raise UserError(
            f"one file of sequences in S3Rec's layout (NAME.txt) is needed, {len(files)} files hold {names}: "
            "put each data set into a folder of its own"
        )
    log = scan(config, found, histories(_rows))
    own = attributes.get(f"{stem(found[0].uri).removesuffix('.txt')}{_ATTRIBUTES}")
    items = _items(found[0], own, files, log.mapping.item_type) if own is not None else None
    return Tables(log.parts(), items, None, log.order)


def _rows(lines: pa.Table, _: FileEntry, __: int) -> pa.Table:
    """One row an item of each line; a user without items leaves none."""
    words = pc.utf8_split_whitespace(text_lines(lines))
    return unroll(pc.list_element(words, 0), pc.list_slice(words, 1))


def _items(sequences: FileEntry, attributes: FileEntry, files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    folder = sequences.uri.rsplit("/", 1)[0]
    beside = {stem(file.uri): file for file in files if file.uri.rsplit("/", 1)[0] == folder}
    maps: dict[str, dict[str, str]] = next((read_document(beside[name]) for name in _NAMES if name in beside), {})
    of_item: dict[str, list[Any]] = read_document(attributes)
    names = maps.get("id2attribute", {})
    if len(names) != len({attribute for own in of_item.values() for attribute in own}):
        names = {}
    ids = list(maps.get("id2item", of_item))
    told = [[str(names.get(str(a), a)).replace("|", "/") for a in of_item.get(item, [])] for item in ids]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "item_id": convert_ids(pa.chunked_array([pa.array(ids)]), kind, "item", attributes.uri),
        "category": pa.array(["|".join(one) or None for one in told]),
    }
    beside_them = next((file for file in files if stem(file.uri).endswith(".item")), None)
    if beside_them is not None and "id2item" in maps:
        columns |= _described(beside_them, [maps["id2item"][item] for item in ids])
    return pa.table(columns)


def _described(file: FileEntry, codes: list[str]) -> dict[str, pa.Array | pa.ChunkedArray]:
    """What a RecBole item file tells, as titles, brands and prices, in the order of the shop's own item codes."""
    table = described(read_atomic(file))
    rows = pc.index_in(pa.array(codes), value_set=table["item_id"].combine_chunks())
    return {name: table[name].take(rows) for name in table.column_names if name != "item_id"}
