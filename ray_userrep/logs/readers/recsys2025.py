"""RecSys Challenge 2025 (Universal Behavioral Modeling, Synerise): five Parquet files of events and one of products.

Three of the files are of products that were bought, put into the cart or taken out of it; the others are of pages and
of search queries, of which only codes are known. All are interactions, told apart by `event`, and the ids of items say
what they are of: `sku:12`, `url:7`, `query:[3 1 …]`. One catalogue of three kinds is larger than one of products, and
pages and queries are most of what users did. A product's category and price bucket are known; the codes of its name,
which no sentence encoder reads, are left out.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat, LineParser, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import only
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NAMES = ("product_buy", "add_to_cart", "remove_from_cart", "page_visit", "search_query")
_EVENTS = [f"{name}.parquet" for name in _NAMES]
_PRODUCTS = "product_properties.parquet"
_ITEMS = ("sku", "url", "query")
_COLUMNS = {"user_id": "client_id", "item_id": "item", "timestamp": "timestamp", "event": "event"}


def recognise(names: list[str]) -> bool:
    """Purchases beside visits of pages."""
    return {"product_buy.parquet", "page_visit.parquet"} <= {stem(name) for name in names}


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions with their `event`; items have category and price bucket where their file is there.

    Raises:
        UserError: there is no file of events.
    """
    events, products = only(files, *_EVENTS), only(files, _PRODUCTS)
    if not events:
        raise UserError(f"none of {', '.join(_EVENTS)} among {len(files)} files")
    parser = LineParser({"client_id": None, "timestamp": None}, _rows, either=dict.fromkeys(_ITEMS))
    log = scan(config, events, LogLayout(_COLUMNS, parser=parser))
    return Tables(log.parts(), _products(products) if products else None, None, log.order)


def _rows(lines: pa.Table, file: FileEntry, _: int) -> pa.Table:
    kind = next((name for name in _ITEMS if name in lines.column_names), None)
    if kind is None:
        raise OtherSchema(f"{file.uri} has none of the columns {', '.join(_ITEMS)}")
    event = stem(file.uri).partition(".")[0]
    return pa.table(
        {
            "client_id": lines["client_id"],
            "item": _ids(kind, lines[kind]),
            "timestamp": lines["timestamp"],
            "event": pa.repeat(pa.scalar(event), lines.num_rows),
        }
    )


def _ids(kind: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids that say what they are of; null where there is none."""
    return pc.binary_join_element_wise(kind, values.cast(pa.string()), ":")


def _products(files: list[FileEntry]) -> pa.Table:
    table = read_whole(files, CsvFormat()).select(["sku", "category", "price"])
    found = {
        "item_id": _ids("sku", table["sku"]),
        "category": table["category"].cast(pa.string()),
        "price": table["price"].cast(pa.float64()),
    }
    return keyed(pa.table(found), "item_id", pa.string(), files[0].uri)
