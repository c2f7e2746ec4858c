"""Logs with relations of users and without times: HERec's cut of Yelp, and Ciao."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from scipy.io import savemat

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.logs.untimed import joined, shuffled
from ray_userrep.recipe.logs import LogsConfig


def test_an_order_is_drawn_that_neither_rows_nor_blocks_change():
    rows = pa.table({"user": np.repeat(np.arange(50), 40), "item": np.tile(np.arange(40), 50)})
    seconds = np.array(shuffled(rows, user="user", item="item")["second"]).reshape(50, 40)
    part = shuffled(rows.slice(7, 5), None, 7, user="user", item="item")
    assert part["second"].to_pylist() == seconds.ravel()[7:12].tolist()
    ranks = seconds.argsort(1).argsort(1).mean(0)  # each item's mean place; 19.5, 1.6 apart, by chance
    assert np.all(np.abs(ranks - 19.5) < 8) and len(np.unique(seconds.argsort(1), axis=0)) == 50


def test_values_of_an_item_are_joined_once_each():
    table = pa.table({"item_id": [2, 1, 2, 2], "category": [7, 30, 5, 7]})
    assert joined(table, "category").to_pylist() == [
        {"item_id": 1, "category": "30"},
        {"item_id": 2, "category": "5|7"},
    ]


def write(folder, **files):
    for name, lines in files.items():
        text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
        (folder / f"{name}.dat.gz").write_bytes(gzip.compress(text.encode()))


def test_yelp_s_network(read, tmp_path):
    ratings = [(1, 7, 5), (1, 9, 3), (2, 7, 4)]
    friends, compliments = [(1, 2, 1), (2, 1, 1), (1, 1, 1)], [(1, 3, 1), (2, 4, 1), (1, 4, 1)]
    write(tmp_path, user_business=ratings, user_user=friends, user_compliment=compliments)
    write(tmp_path, business_category=[(7, 12, 1), (7, 3, 1)], business_city=[(9, 31, 1)])
    log = read(tmp_path)
    assert log.logs.reader == "yelp_hin" and log.logs.order == "row"
    assert sorted((user, item, rating) for user, item, _, rating in log.short("rating")) == ratings
    assert log.logs.relations.to_pylist() == [{"user_id": one, "other_id": other} for one, other, _ in friends]
    assert log.logs.users.to_pylist() == [
        {"user_id": 1, "compliment_3": 1, "compliment_4": 1},
        {"user_id": 2, "compliment_3": 0, "compliment_4": 1},
    ]
    assert log.logs.items.to_pylist() == [
        {"item_id": 7, "category": "12|3", "city": None},
        {"item_id": 9, "category": None, "city": "31"},
    ]


def test_ciao_s_matrices(read, tmp_path):
    ratings = np.array([[1, 7, 3, 5, 2], [1, 9, 3, 4, 2], [2, 7, 6, 1, 3]], np.uint32)
    savemat(tmp_path / "rating.mat", {"rating": ratings})
    savemat(tmp_path / "trustnetwork.mat", {"trustnetwork": np.array([[1, 2]], np.uint16)})
    log = read(tmp_path)
    assert log.logs.reader == "ciao" and log.logs.order == "row" and log.logs.users is None
    found = [(user, item, rating) for user, item, _, rating in log.short("rating")]
    assert sorted(found) == [(1, 7, 5.0), (1, 9, 4.0), (2, 7, 1.0)]
    assert log.logs.items.to_pylist() == [{"item_id": 7, "category": "3|6"}, {"item_id": 9, "category": "3"}]
    assert log.logs.relations.to_pylist() == [{"user_id": 1, "other_id": 2}]


@pytest.mark.parametrize("content", [b"no matrix", None])
def test_what_is_no_matrix_is_refused_with_the_file(ray_session, tmp_path, content):
    (tmp_path / "rating.mat").write_bytes(content or b"")
    savemat(tmp_path / "trustnetwork.mat", {"trustnetwork": np.ones((2, 2))})
    if content is None:
        savemat(tmp_path / "rating.mat", {"rating": np.ones((2, 2))})
    with pytest.raises(UserError, match=r"rating\.mat is not in Ciao's layout, a matrix `rating` of 4 columns"):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_published_figures(read, sample_data):
    yelp = read(sample_data / "yelp-hin")
    assert yelp.counts == (198_397, 16_239, 14_284) and not yelp.reasons
    assert yelp.logs.relations.num_rows == 158_590 and yelp.logs.users.num_rows == 14_411
    ciao = read(sample_data / "ciao")
    assert ciao.counts == (284_086, 7_375, 105_114) and not ciao.reasons
    assert ciao.logs.relations.num_rows == 111_781
