"""Amazon 2023: milliseconds, parents of variants, and prices that are a number here and text there."""

import json

import pytest

from ray_userrep.logs.readers import amazon_2023

REVIEW = {"rating": 1.0, "title": "t", "asin": "B0", "parent_asin": "B1", "user_id": "AE", "timestamp": 1602133857705}


def test_reviews_and_metadata(read, tmp_path):
    (tmp_path / "Boxes.jsonl").write_text(json.dumps(REVIEW) + "\n")
    products = [
        {"parent_asin": "B1", "title": "Box", "main_category": "Pets", "categories": [], "store": "S", "price": 19.99},
        {"parent_asin": "B2", "title": "Bag", "main_category": "P", "categories": ["P", "Bags"], "price": "from 14.99"},
        {"parent_asin": "B3", "title": None, "main_category": None, "categories": [], "price": "—"},
    ]
    (tmp_path / "meta_Boxes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in products))
    log = read(tmp_path)
    assert log.logs.reader == "amazon_2023"
    assert log.short("rating", "domain") == [("AE", "B1", 1602133857, 1.0, "Boxes")]
    assert log.logs.items.to_pylist() == [
        {"item_id": "B1", "text": "Box", "category": "Pets", "brand": "S", "price": 19.99},
        {"item_id": "B2", "text": "Bag", "category": "P|Bags", "brand": None, "price": None},
        {"item_id": "B3", "text": None, "category": None, "brand": None, "price": None},
    ]


def test_variants_can_be_the_items(read, tmp_path):
    (tmp_path / "Boxes.jsonl").write_text(json.dumps(REVIEW) + "\n")
    log = read(tmp_path, reader="amazon_2023", columns={"item_id": "asin"})
    assert log.rows["item_id"].to_pylist() == ["B0"]


def test_ratings_have_a_header(read, tmp_path):
    (tmp_path / "Boxes.csv").write_text("user_id,parent_asin,rating,timestamp\nAE,B1,1.0,1602133857705\n")
    assert read(tmp_path, reader="amazon_2023").short("rating") == [("AE", "B1", 1602133857, 1.0)]


@pytest.mark.parametrize(
    ("names", "known"), [(["X.jsonl.gz", "meta_X.jsonl.gz"], True), (["X.jsonl"], False), (["meta_X.jsonl"], False)]
)
def test_recognise(names, known):
    assert amazon_2023.recognise(names) is known


def test_published_figures(read, sample_data):
    log = read(sample_data / "amazon-2023-Subscription_Boxes", reader="amazon_2023")
    assert log.counts == (16_216, 15_237, 641) and not log.reasons
    months = [str(time)[:7] for time in log.rows["timestamp"].to_pylist()]
    assert (min(months), max(months)) == ("2017-01", "2023-08")
