"""Amazon reviews of 2018: `X.json`, `X_5.json`, `X.csv` (item, user, rating, time: not 2014's order) and `meta_X.json`.

Times are days: a user's reviews often share one, and keep the order of the file then.
"""

import re

from ray_userrep.logs.amazon import Release, beside_metadata, read_release
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_RATING = ("item_id", "user_id", "rating", "timestamp")
_RELEASE = Release(
    re.compile(r"(?P<domain>[^.]+?)(?:_5)?\.(?:json|csv)"),
    {"user_id": "reviewerID", "item_id": "asin", "timestamp": "unixReviewTime", "rating": "overall"},
    {name: name for name in _RATING},
    CsvFormat(",", _RATING, quoted=False),
    "asin",
    "s",
)


def recognise(names: list[str]) -> bool:
    """Reviews beside the metadata of their category."""
    return beside_metadata(names, ("{}.json", "{}_5.json"))


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of all categories; see `read_release`."""
    return read_release(config, files, _RELEASE)
