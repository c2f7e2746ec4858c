"""LETTER's JSON documents: histories, items, and how they relate to S3Rec's numbers."""

import gzip
import json
import shutil

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


def test_histories_and_items(read, tmp_path):
    (tmp_path / "Toys.inter.json").write_text(json.dumps({"0": [4, 2**53 + 1, 4], "1": [], "7": [0]}))
    items = {"0": {"title": "Zero", "description": "none"}, "4": {"title": "Four", "brand": "x"}}
    (tmp_path / "Toys.item.json.gz").write_bytes(gzip.compress(json.dumps(items, indent=2).encode()))
    log = read(tmp_path)
    assert log.logs.reader == "letter" and log.logs.users is None
    assert log.short() == [(0, 4, 0), (0, 2**53 + 1, 1), (0, 4, 2), (7, 0, 0)]
    assert log.logs.items.to_pylist() == [
        {"item_id": 0, "text": "Zero", "description": "none", "brand": None},
        {"item_id": 4, "text": "Four", "description": None, "brand": "x"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "is not in LETTER's layout"),
        ('{"0": 5}', "is not in LETTER's layout"),
        ("{}", "the log is empty"),
        ('{"0": []}', "the log is empty"),
    ],
)
def test_what_is_no_log(ray_session, tmp_path, content, message):
    (tmp_path / "Toys.inter.json").write_text(content)
    with pytest.raises(UserError, match=message):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_days_cannot_be_chosen(ray_session, tmp_path):
    (tmp_path / "Shop.inter.json").write_text('{"1": [2, 3]}')
    with pytest.raises(UserError, match="has no times to choose days by"):
        open_logs(LogsConfig(uri=str(tmp_path), from_date="1970-01-01"))


def test_published_figures(read, sample_data, tmp_path):
    """The sample lacks the histories; they are S3Rec's with numbers from zero."""
    with gzip.open(sample_data / "yelp" / "data" / "Yelp.txt.gz", "rt") as file:
        lines = [[int(word) for word in line.split()] for line in file]
    histories = {str(user - 1): [item - 1 for item in items] for user, *items in lines}
    (tmp_path / "Yelp.inter.json").write_text(json.dumps(histories))
    shutil.copy(sample_data / "yelp" / "LETTER" / "Yelp.item.json.gz", tmp_path)
    log = read(tmp_path)
    assert log.counts == (316_354, 30_431, 20_033) and not log.reasons
    assert log.logs.items.num_rows == 20_033
    assert log.logs.items["text"][0].as_py() == "The Great Greek"
