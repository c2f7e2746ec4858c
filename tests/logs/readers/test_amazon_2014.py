"""Amazon 2014: reviews or ratings, and metadata written as Python literals."""

import gzip
import json

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.readers import amazon_2014
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

REVIEWS = [
    {"reviewerID": "A1", "asin": "0001", "overall": 5.0, "unixReviewTime": 1369699200, "helpful": [0, 0]},
    {"reviewerID": "A2", "asin": "0001", "overall": 4, "unixReviewTime": 1355443200, "style": {"Size:": " L"}},
]
METADATA = (
    "{'asin': '0001', 'title': 'Salt &amp; Pepper', 'price': 9.37, 'brand': 'It\\'s', "
    "'categories': [['Toys', 'A|B'], ['Toys', 'C']]}\n"
    "{'asin': '0002', 'description': 'no title'}\n"
)


def test_reviews_and_metadata(read, tmp_path):
    for category in ("Toys", "Beauty_and_more"):
        text = "".join(json.dumps(review) + "\n" for review in REVIEWS)
        (tmp_path / f"reviews_{category}_5.json.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "meta_Toys.json.gz").write_bytes(gzip.compress(METADATA.encode()))
    log = read(tmp_path)
    assert log.logs.reader == "amazon_2014" and log.logs.users is None
    assert log.short("rating", "domain") == [
        ("A1", "0001", 1369699200, 5.0, "Beauty_and_more"),
        ("A2", "0001", 1355443200, 4.0, "Beauty_and_more"),
        ("A1", "0001", 1369699200, 5.0, "Toys"),
        ("A2", "0001", 1355443200, 4.0, "Toys"),
    ]
    nothing = dict.fromkeys(("text", "category", "brand", "price"))
    assert log.logs.items.to_pylist() == [
        {"item_id": "0001", "text": "Salt & Pepper", "category": "Toys|A/B|C", "brand": "It's", "price": 9.37},
        {"item_id": "0002", **nothing},
    ]


def test_ratings_have_the_user_first(read, tmp_path):
    (tmp_path / "ratings_Toys.csv").write_text("A1,0001,5.0,1369699200\nA2,0002,4.0,x\n")
    log = read(tmp_path, reader="amazon_2014")
    assert log.short("rating", "domain")[0] == ("A1", "0001", 1369699200, 5.0, "Toys")
    assert log.reasons == {"bad_timestamp": 1}


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["reviews_Toys_5.json.gz", "meta_Toys.json.gz"], True),
        (["ratings_Toys.csv", "meta_Toys.json"], True),
        (["ratings_small.csv"], False),
        (["Toys_5.json", "meta_Toys.json"], False),
    ],
)
def test_recognise(names, known):
    assert amazon_2014.recognise(names) is known


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["meta_Toys.json"], "neither reviews nor ratings of this release among 1 files"),
        (["reviews_Toys.json", "reviews_Toys_5.json"], "the interactions of Toys are in more than one file"),
    ],
)
def test_what_cannot_be_read(ray_session, tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text(json.dumps(REVIEWS[0]) + "\n")
    with pytest.raises(UserError, match=message):
        open_logs(LogsConfig(uri=str(tmp_path), reader="amazon_2014"))


def test_metadata_that_is_neither_is_named(ray_session, tmp_path):
    (tmp_path / "reviews_Toys.json").write_text(json.dumps(REVIEWS[0]) + "\n")
    (tmp_path / "meta_Toys.json").write_text(METADATA + "{'asin': __import__('os')}\n")
    with pytest.raises(UserError, match=r"meta_Toys\.json, line 3: neither JSON nor a Python literal"):
        open_logs(LogsConfig(uri=str(tmp_path)))
