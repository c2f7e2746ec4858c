"""Online Retail and Online Retail II (UCI): invoice lines of a British mail-order shop, as Parquet or CSV.

Customers are the users; `logs.columns={"user_id": "InvoiceNo"}` makes invoices the users and asks for no customer.
Rejected: lines of cancelled invoices (`cancellation`: the number starts with C) and lines that sold nothing
(`not_a_sale`: a quantity of zero or less, which are stock corrections). Charges such as postage (`POST`) are kept:
they are bought like anything else, and leaving them out is a choice about the task, not about the data.
"""

import re
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.config import LogsConfig
from ray_userrep.logs.dimensions import most_frequent
from ray_userrep.logs.files import CsvFormat, column_names, is_table, stem
from ray_userrep.logs.ids import is_text
from ray_userrep.logs.scan import Layout, Scan, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.times import ISO
from ray_userrep.storage import FileEntry

CANCELLATION = "cancellation"
NOT_A_SALE = "not_a_sale"


class _Names(NamedTuple):
    invoice: str
    customer: str
    price: str


_FIRST = _Names("InvoiceNo", "CustomerID", "UnitPrice")
_SECOND = _Names("Invoice", "Customer ID", "Price")


def recognise(names: list[str]) -> bool:
    """A table whose name starts with "online retail", however it is spelt."""
    return any(is_table(name) and re.match(r"online[ _-]?retail", stem(name)) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables; items have the commonest description and price, users the commonest country.

    Raises:
        UserError: no table among the files, or not one of the two layouts.
    """
    tables = [file for file in files if is_table(file.uri)]
    if not tables:
        raise UserError(f"no Parquet or CSV file of Online Retail among {len(files)} files")
    names = _SECOND if _SECOND.invoice in column_names(tables[0], CsvFormat()) else _FIRST
    found = scan(config, tables, _layout(names))
    items, users = _dimensions(found, names.price)
    return Tables(found.dataset(), items, users)


def _layout(names: _Names) -> Layout:
    return Layout(
        columns={
            "user_id": names.customer,
            "item_id": "StockCode",
            "timestamp": "InvoiceDate",
            "price": names.price,
        },
        formats=(ISO, "%m/%d/%Y %H:%M"),
        extra=(names.invoice, "Quantity"),
        reject=partial(_reject, invoice=names.invoice),
    )


def _reject(raw: pa.Table, invoice: str) -> pa.ChunkedArray:
    cancelled = pc.starts_with(raw[invoice].cast(pa.string()), "C")
    quantity = raw["Quantity"]
    unsold = pc.match_substring_regex(quantity, r"^(-|0)") if is_text(quantity.type) else pc.less_equal(quantity, 0)
    none = pa.scalar(None, pa.string())
    reason = pc.if_else(pc.fill_null(unsold, False), NOT_A_SALE, none)
    return pc.if_else(pc.fill_null(cancelled, False), CANCELLATION, reason)


def _dimensions(found: Scan, price: str) -> tuple[pa.Table, pa.Table]:
    good = []
    for rows, raw in found.tables(["Description", "Country"]):
        kept = pc.is_null(rows["reason"])
        both = rows.select(["user_id", "item_id", "price"])
        both = both.append_column("text", pc.utf8_trim_whitespace(raw["Description"].cast(pa.string())))
        good.append(both.append_column("country", raw["Country"].cast(pa.string())).filter(kept))
    table = pa.concat_tables(good)
    table = table.set_column(
        3, "text", pc.if_else(pc.equal(table["text"], ""), pa.scalar(None, pa.string()), table["text"])
    )
    texts, prices = most_frequent(table, "item_id", "text"), most_frequent(table, "item_id", "price")
    return prices.join(texts, "item_id").sort_by("item_id"), most_frequent(table, "user_id", "country")
