"""S3Rec's text layout: a sample written by hand, and the real data sets against their published counts."""

import gzip
import json
from pathlib import Path

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.config import LogsConfig
from ray_userrep.logs.source import open_logs

DATA = Path(__file__).parents[4] / "shared" / "data"


def write(folder, lines, attributes, maps=None, items=None):
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / "Shop.txt.gz", "wt") as file:
        file.write("".join(f"{line}\n" for line in lines))
    with gzip.open(folder / "Shop_item2attributes.json.gz", "wt") as file:
        json.dump(attributes, file)
    if maps is not None:
        (folder / "datamaps.json").write_text(json.dumps(maps))
    if items is not None:
        (folder / "Shop.item").write_text("item_id:token\ttitle:token\tcategories:token_seq\tprice:float\n" + items)
    return str(folder)


def rows(logs):
    return sorted(logs.interactions.take_all(), key=lambda row: row["row"])


def test_a_line_is_a_user_and_its_items_in_order(ray_session, tmp_path):
    uri = write(tmp_path / "log", ["7 3 1 2", "8", "9 2"], {"1": [4], "2": [4, 5]})
    logs = open_logs(LogsConfig(uri=uri))
    assert logs.reader == "s3rec" and logs.users is None
    found = [(row["user_id"], row["item_id"], row["timestamp"].timestamp(), row["row"]) for row in rows(logs)]
    assert found == [(7, 3, 0.0, 0), (7, 1, 1.0, 1), (7, 2, 2.0, 2), (9, 2, 0.0, 3)]
    assert all(row["reason"] is None for row in rows(logs))
    assert logs.items.to_pylist() == [{"item_id": 1, "category": "4"}, {"item_id": 2, "category": "4|5"}]


def test_attributes_have_names_only_where_the_names_are_theirs(ray_session, tmp_path):
    maps = {"id2item": {"1": "A", "2": "B", "3": "C"}, "id2attribute": {"4": "red|blue", "5": "big"}}
    right = open_logs(LogsConfig(uri=write(tmp_path / "right", ["7 1 2"], {"1": [4], "2": [4, 5]}, maps))).items
    assert right["category"].to_pylist() == ["red/blue", "red/blue|big", None]
    wrong = open_logs(LogsConfig(uri=write(tmp_path / "wrong", ["7 1 2"], {"1": [4], "2": [4, 5, 6]}, maps))).items
    assert wrong["category"].to_pylist() == ["4", "4|5|6", None]


def test_titles_prices_and_categories_of_an_item_file(ray_session, tmp_path):
    items = "B\tA \"good\" brush \t'Beauty', 'Tools, Small'\t5.5\nA\tSoap\t'Beauty'\t\n"
    maps = {"id2item": {"1": "A", "2": "B", "3": "C"}}
    table = open_logs(LogsConfig(uri=write(tmp_path / "log", ["7 1 2"], {"1": [4]}, maps, items))).items
    assert table.to_pylist() == [
        {"item_id": 1, "category": "Beauty", "text": "Soap", "price": None},
        {"item_id": 2, "category": "Beauty|Tools, Small", "text": 'A "good" brush', "price": 5.5},
        {"item_id": 3, "category": None, "text": None, "price": None},
    ]


def test_ids_may_be_text(ray_session, tmp_path):
    logs = open_logs(LogsConfig(uri=write(tmp_path / "log", ["u7 a b"], {"a": [1]})))
    assert [(row["user_id"], row["item_id"]) for row in rows(logs)] == [("u7", "a"), ("u7", "b")]


def test_lines_without_items_are_refused(ray_session, tmp_path):
    with pytest.raises(UserError, match=r"Shop\.txt\.gz is not in S3Rec's layout"):
        open_logs(LogsConfig(uri=write(tmp_path / "log", ["7", "8"], {"a": [1]})))


@pytest.mark.parametrize(("folder", "interactions", "users", "items"), [
    ("amazon-2014-Beauty", 198_502, 22_363, 12_101),
    ("amazon-2014-Sports_and_Outdoors/data", 296_337, 35_598, 18_357),
    ("amazon-2014-Toys_and_Games/data", 167_597, 19_412, 11_924),
    ("yelp/data", 316_354, 30_431, 20_033),
])  # fmt: skip
def test_real_data_sets_have_their_published_counts(ray_session, folder, interactions, users, items):
    if not (DATA / folder).exists():
        pytest.skip(f"{folder} is not at hand in ../shared/data")
    logs = open_logs(LogsConfig(uri=str(DATA / folder)))
    table = logs.interactions.select_columns(["user_id", "item_id", "reason"]).to_pandas()
    assert len(table) == interactions and table["reason"].isna().all()
    assert table["user_id"].nunique() == users and table["item_id"].nunique() == items
    assert logs.items.num_rows == items
    if "Beauty" in folder:
        assert logs.items["text"].null_count <= 10
