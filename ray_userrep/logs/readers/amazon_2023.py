"""Amazon reviews of 2023: `X.jsonl`, `X.csv` (with a header) and `meta_X.jsonl`; times are milliseconds.

An item is a `parent_asin`, which the metadata describes: variants of a product are one item.
"""

import re

from ray_userrep.logs.amazon import Release, beside_metadata, read_release
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_COLUMNS = {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp", "rating": "rating"}
_RELEASE = Release(
    re.compile(r"(?P<domain>[^.]+)\.(?:jsonl|csv)"),
    _COLUMNS,
    _COLUMNS,
    CsvFormat(),
    "parent_asin",
    "ms",
)


def recognise(names: list[str]) -> bool:
    """Reviews or ratings beside the metadata of their category."""
    return beside_metadata([name for name in names if ".jsonl" in name], ("{}.jsonl",))


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of all categories; see `read_release`."""
    return read_release(config, files, _RELEASE)
