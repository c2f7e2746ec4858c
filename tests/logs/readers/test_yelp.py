"""Yelp's JSON lines: reviews, businesses, users, and lists in strings."""

import json

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


def write(folder, kind, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"yelp_academic_dataset_{kind}.json").write_text(text)


def review(user, business, date, stars=4.0):
    about = {"review_id": "r", "user_id": user, "business_id": business, "stars": stars, "useful": 0, "text": "nice"}
    return {**about, "date": date}


def business(name, categories):
    about = {"name": name, "city": "Tampa", "state": "FL", "stars": 4.5, "attributes": {"a": "True"}, "hours": None}
    return {"business_id": name[0], **about, "categories": categories}


def user(name, friends, elite):
    about = {"review_count": 3, "average_stars": 3.5, "fans": 1, "yelping_since": "2010-01-01 00:00:00"}
    return {"user_id": name, "name": "Jo", **about, "friends": friends, "elite": elite}


def test_all_tables(read, tmp_path):
    write(tmp_path, "review", [review("u", "A", "2018-07-07 22:09:11"), review("v", "A", "2012-01-03 15:28:18", 1.0)])
    write(tmp_path, "business", [business("Abby", "Doctors, Health & Medical"), business("Best", None)])
    write(tmp_path, "user", [user("u", "a, b, c", "2010,2011"), user("v", "None", ""), user("w", "a", "2010")])
    write(tmp_path, "tip", [{"user_id": "u", "business_id": "A", "text": "x", "date": "2020-01-01 00:00:00"}])
    log = read(tmp_path)
    assert log.logs.reader == "yelp" and not log.reasons
    assert log.short("rating") == [("u", "A", 1531001351, 4.0), ("v", "A", 1325604498, 1.0)]
    about = {"city": "Tampa", "state": "FL", "stars": 4.5}
    assert log.logs.items.to_pylist() == [
        {"item_id": "A", "text": "Abby", "category": "Doctors|Health & Medical", **about},
        {"item_id": "B", "text": "Best", "category": None, **about},
    ]
    counted = log.logs.users.select(["user_id", "fans", "num_friends", "num_elite"]).to_pylist()
    assert [tuple(row.values()) for row in counted] == [("u", 1, 3, 2), ("v", 1, 0, 0), ("w", 1, 1, 1)]


def test_reviews_are_enough(read, tmp_path):
    write(tmp_path, "review", [review("u", "A", "2018-07-07 22:09:11")])
    log = read(tmp_path)
    assert (log.logs.items, log.logs.users, log.counts) == (None, None, (1, 1, 1))


def test_no_reviews(ray_session, tmp_path):
    write(tmp_path, "business", [business("Abby", "x")])
    with pytest.raises(UserError, match=r"no yelp_academic_dataset_review\.json among 1 files"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="yelp"))
