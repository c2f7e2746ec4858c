"""Amazon 2018: the item comes first in ratings; prices and categories as the shop wrote them."""

import json

import pytest

from ray_userrep.logs.readers import amazon_2018


def test_reviews_and_metadata(read, tmp_path):
    review = {"overall": 5.0, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1529193600, "style": {"x:": "y"}}
    (tmp_path / "Gift_Cards_5.json").write_text(json.dumps(review) + "\n")
    products = [
        {"asin": "B1", "title": "Card", "category": ["Gift", "Gift"], "brand": "", "price": "$1,000.50"},
        {"asin": "B2", "title": "Range", "category": [], "price": "$1.00 - $2.00"},
        {"asin": "B2", "title": "again"},
    ]
    (tmp_path / "meta_Gift_Cards.json").write_text("".join(json.dumps(one) + "\n" for one in products))
    log = read(tmp_path)
    assert log.logs.reader == "amazon_2018"
    assert log.short("rating", "domain") == [("A1", "B1", 1529193600, 5.0, "Gift_Cards")]
    assert log.logs.items.to_pylist() == [
        {"item_id": "B1", "text": "Card", "category": "Gift", "brand": None, "price": 1000.5},
        {"item_id": "B2", "text": "Range", "category": None, "brand": None, "price": None},
    ]


def test_texts_of_reviews_are_kept_where_they_are_asked_for(read, tmp_path):
    review = {"overall": 5.0, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1529193600, "summary": "Five Stars"}
    reviews = [review | {"reviewText": 'Nice,\n"really".'}, review | {"asin": "B2"}]
    (tmp_path / "Gift_Cards_5.json").write_text("".join(json.dumps(one) + "\n" for one in reviews))
    (tmp_path / "meta_Gift_Cards.json").write_text(json.dumps({"asin": "B1", "title": "Card"}) + "\n")
    log = read(tmp_path, columns={"review": "reviewText", "summary": "summary"})
    assert [row[3:] for row in log.short("review", "summary")] == [
        ('Nice,\n"really".', "Five Stars"), (None, "Five Stars"),
    ]  # fmt: skip
    assert "review" not in read(tmp_path).rows.column_names


def test_ratings_have_the_item_first(read, tmp_path):
    (tmp_path / "Gift_Cards.csv").write_text("B1,A1,5.0,1529193600\n")
    log = read(tmp_path, reader="amazon_2018")
    assert log.short("rating", "domain") == [("A1", "B1", 1529193600, 5.0, "Gift_Cards")]


@pytest.mark.parametrize(
    ("names", "known"),
    [(["X_5.json.gz", "meta_X.json.gz"], True), (["reviews_X.json", "meta_X.json"], False), (["X.json"], False)],
)
def test_recognise(names, known):
    assert amazon_2018.recognise(names) is known


def test_published_figures(read, sample_data):
    log = read(sample_data / "amazon-2018-Gift_Cards")
    assert log.logs.reader == "amazon_2018" and not log.reasons
    assert log.counts == (2_972, 458, 148)
    assert log.logs.items.num_rows == 1_547
    texts = dict(log.logs.items.select(["item_id", "text"]).to_pandas().itertuples(index=False))
    assert all(texts[item] for item in log.rows["item_id"].to_pylist())
    days = [str(time)[:10] for time in log.rows["timestamp"].to_pylist()]
    assert (min(days), max(days)) == ("2012-01-31", "2018-08-22")
