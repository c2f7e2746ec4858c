"""Amazon reviews of 2014: `reviews_X[_5].json`, `ratings_X.csv` (user, item, rating, time) and `meta_X.json`.

Times are days. Metadata lines are Python literals, not JSON.
"""

import re

from ray_userrep.logs.amazon import Release, beside_metadata, read_release
from ray_userrep.logs.files import CsvFormat
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_RATING = ("user_id", "item_id", "rating", "timestamp")
_RELEASE = Release(
    re.compile(r"(?:reviews|ratings)_(?P<domain>.+?)(?:_5)?\.(?:json|csv)"),
    {"user_id": "reviewerID", "item_id": "asin", "timestamp": "unixReviewTime", "rating": "overall"},
    {name: name for name in _RATING},
    CsvFormat(",", _RATING, quoted=False),
    "asin",
    "s",
)


def recognise(names: list[str]) -> bool:
    """Reviews or ratings beside the metadata of their category."""
    return beside_metadata(names, ("reviews_{}.json", "reviews_{}_5.json", "ratings_{}.csv"))


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of all categories; see `read_release`."""
    return read_release(config, files, _RELEASE)
