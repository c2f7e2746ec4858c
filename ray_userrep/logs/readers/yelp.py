"""The Yelp data set as published: JSON lines `yelp_academic_dataset_review.json`, `…_business.json`, `…_user.json`.

A review is an interaction, with its stars as rating; tips and check-ins are left alone. Items are businesses: their
name as text, their categories joined by `|`, city, state and stars. Users have what their profile counts; of friends
and elite years, which are lists in a string, only the numbers are kept.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, tables
from ray_userrep.logs.files import CsvFormat, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NAME = "yelp_academic_dataset_{}.json"
_LAYOUT = LogLayout({"user_id": "user_id", "item_id": "business_id", "timestamp": "date", "rating": "stars"})
_LISTS = ("friends", "elite")


def recognise(names: list[str]) -> bool:
    """A `yelp_academic_dataset_review.json`."""
    return any(stem(name) == _NAME.format("review") for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables; businesses and users only where their files are there.

    Raises:
        UserError: there is no file of reviews.
    """
    reviews, businesses, users = (
        [file for file in files if stem(file.uri) == _NAME.format(kind)] for kind in ("review", "business", "user")
    )
    if not reviews:
        raise UserError(f"no {_NAME.format('review')} among {len(files)} files")
    found = scan(config, reviews, _LAYOUT)
    return Tables(
        found.parts(),
        _items(businesses, found.mapping.item_type) if businesses else None,
        _users(users, found.mapping.user_type) if users else None,
        found.order,
    )


def _items(files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    table = pa.concat_tables(
        tables(files, CsvFormat(), ["business_id", "name", "categories", "city", "state", "stars"])
    )
    table = table.rename_columns(["item_id", "text", "category", "city", "state", "stars"])
    categories = pc.replace_substring(table["category"].cast(pa.string()), ", ", "|")
    return keyed(table.set_column(2, "category", categories), "item_id", kind, files[0].uri)


def _users(files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    names = ["user_id", "review_count", "average_stars", "fans", "yelping_since", *_LISTS]
    table = pa.concat_tables(_counted(part) for part in tables(files, CsvFormat(), names))
    return keyed(table, "user_id", kind, files[0].uri)


def _counted(table: pa.Table) -> pa.Table:
    """Lists in a string, `a, b, c` or `None`, as their lengths: a block of them at a time is all that fits."""
    for name in _LISTS:
        text = pc.fill_null(table[name].cast(pa.string()), "")
        empty = pc.is_in(text, value_set=pa.array(["", "None"]))
        counts = pc.if_else(empty, 0, pc.add(pc.count_substring(text, ","), 1))
        table = table.set_column(table.column_names.index(name), f"num_{name}", counts.cast(pa.int64()))
    return table
