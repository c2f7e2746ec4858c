"""Online Retail and Online Retail II (UCI): invoice lines of a British mail-order shop, as Parquet or CSV.

Customers are the users; `logs.columns={"user_id": "InvoiceNo"}` makes invoices the users and asks for no customer.
Rejected: lines of cancelled invoices (`cancellation`: the number starts with C) and lines that sold nothing
(`not_a_sale`: a quantity of zero or less, which are stock corrections). Charges such as postage (`POST`) are kept:
they are bought like anything else, and leaving them out is a choice about the task, not about the data.

The first nine days of December 2010 are both at the end of the first year and at the start of the second. Where the two
years are two files, the first one's are rejected (`overlap`); in one file of both they cannot be told apart and stay.
"""

import re
from functools import partial, reduce
from itertools import chain
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import most_frequent
from ray_userrep.logs.files import CsvFormat, column_names, head, is_table, stem
from ray_userrep.logs.ids import is_text
from ray_userrep.logs.parts import Parts
from ray_userrep.logs.scan import LogLayout, Scan, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.times import ISO, TIMESTAMP, parse_timestamps
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

CANCELLATION = "cancellation"
NOT_A_SALE = "not_a_sale"
OVERLAP = "overlap"

_TIME = "InvoiceDate"
_FORMATS = (ISO, "%m/%d/%Y %H:%M")
_SECOND_YEAR = "2010-12-01"


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
    scans: list[Scan] = []
    first_file = 0
    for (names, end), group in _groups(tables).items():
        scans.append(scan(config, group, _layout(names, end), first_file))
        first_file += len(group)
    items, users = _dimensions(scans)
    return Tables(reduce(Parts.joined, (one.parts() for one in scans)), items, users, scans[0].order)


def _groups(files: list[FileEntry]) -> dict[tuple[_Names, str | None], list[FileEntry]]:
    """Files that are read alike: by their names of columns, and by the day from which their rows are told again."""
    early = [file for file in files if _begins_early(file)]
    again = early if len(files) == 2 and len(early) == 1 else []
    found: dict[tuple[_Names, str | None], list[FileEntry]] = {}
    for file in files:
        names = _SECOND if _SECOND.invoice in column_names(file, CsvFormat()) else _FIRST
        found.setdefault((names, _SECOND_YEAR if file in again else None), []).append(file)
    return found


def _begins_early(file: FileEntry) -> bool:
    """Whether the first row is of the first year."""
    if _TIME not in column_names(file, CsvFormat()):
        return False
    first = head(file, CsvFormat(), {_TIME: None})[_TIME].slice(0, 1)
    return pc.any(pc.less(_times(first, file.uri), _day(_SECOND_YEAR))).as_py() is True


def _times(values: pa.ChunkedArray, file: str) -> pa.ChunkedArray:
    return parse_timestamps(values, "s", _FORMATS, _TIME, file)


def _day(text: str) -> pa.Scalar:
    return pa.scalar(text).cast(pa.timestamp("us")).cast(TIMESTAMP)


def _layout(names: _Names, end: str | None) -> LogLayout:
    return LogLayout(
        columns={
            "user_id": names.customer,
            "item_id": "StockCode",
            "timestamp": _TIME,
            "price": names.price,
        },
        formats=_FORMATS,
        extra=(names.invoice, "Quantity"),
        reject=partial(_reject, invoice=names.invoice, end=end),
    )


def _reject(raw: pa.Table, invoice: str, end: str | None) -> pa.ChunkedArray:
    cancelled = pc.starts_with(raw[invoice].cast(pa.string()), "C")
    quantity = raw["Quantity"]
    unsold = pc.match_substring_regex(quantity, r"^(-|0)") if is_text(quantity.type) else pc.less_equal(quantity, 0)
    none = pa.scalar(None, pa.string())
    reason = pc.if_else(pc.fill_null(unsold, False), NOT_A_SALE, none)
    reason = pc.if_else(pc.fill_null(cancelled, False), CANCELLATION, reason)
    if end is None:
        return reason
    told_again = pc.greater_equal(_times(raw[_TIME], _TIME), _day(end))
    return pc.if_else(pc.fill_null(told_again, False), OVERLAP, reason)


def _dimensions(scans: list[Scan]) -> tuple[pa.Table, pa.Table]:
    good = []
    for rows, raw in chain.from_iterable(one.tables(["Description", "Country"]) for one in scans):
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
