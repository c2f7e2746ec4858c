"""S3Rec's text layout: a sample written by hand, and the real data sets against their published counts."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.readers import s3rec
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


def write(folder, lines, attributes, maps=None, items=None):
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / "Shop.txt.gz", "wt") as file:
        file.write("".join(f"{line}\n" for line in lines))
    with gzip.open(folder / "Shop_item2attributes.json.gz", "wt") as file:
        json.dump(attributes, file)
    if maps is not None:
        (folder / "datamaps.json").write_text(json.dumps(maps))
    if items is not None:
        header = "item_id:token\ttitle:token\tcategories:token_seq\tprice:float\tbrand:token\n"
        (folder / "Shop.item").write_text(header + items)
    return str(folder)


def rows(logs):
    return sorted(dataset_of(logs.interactions).take_all(), key=lambda row: row["row"])


def test_a_line_is_a_user_and_its_items_in_order(ray_session, tmp_path):
    uri = write(tmp_path / "log", ["7 3  1 2 ", "8", "", "9\t2\r"], {"1": [4], "2": [4, 5]})
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


def test_all_columns_of_an_item_file(ray_session, tmp_path):
    items = (
        "B\tA \"good\" brush \t'Beauty', 'Tools, Small'\t5.5\tAcme\n"
        "A\tSoap\t'Beauty'\t\tLather\n"
        'D\t"\tThe ""best""\nof soaps"\t"\'Beauty\', ""Women\'s"", \'Soap\'"\t1\tLux\n'
    )
    maps = {"id2item": {"1": "A", "2": "B", "3": "C", "4": "D"}}
    table = open_logs(LogsConfig(uri=write(tmp_path / "log", ["7 1 2"], {"1": [4]}, maps, items))).items
    assert table.to_pylist() == [
        {"item_id": 1, "category": "Beauty", "text": "Soap", "price": None, "brand": "Lather"},
        {"item_id": 2, "category": "Beauty|Tools, Small", "text": 'A "good" brush', "price": 5.5, "brand": "Acme"},
        {"item_id": 3, "category": None, "text": None, "price": None, "brand": None},
        {"item_id": 4, "category": "Beauty|Women's|Soap", "text": 'The "best"\nof soaps', "price": 1.0, "brand": "Lux"},
    ]


def test_ids_may_be_text(ray_session, tmp_path):
    logs = open_logs(LogsConfig(uri=write(tmp_path / "log", ["u7 a b"], {"a": [1]})))
    assert [(row["user_id"], row["item_id"]) for row in rows(logs)] == [("u7", "a"), ("u7", "b")]


def test_names_of_another_folder_are_not_taken(ray_session, tmp_path):
    uri = write(tmp_path / "log", ["7 1"], {"1": [4]})
    (tmp_path / "log" / "p5").mkdir()
    (tmp_path / "log" / "p5" / "datamaps.json").write_text('{"id2item": {"1": "A"}, "id2attribute": {"4": "red"}}')
    assert open_logs(LogsConfig(uri=uri)).items.to_pylist() == [{"item_id": 1, "category": "4"}]


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["data/Shop.txt.gz", "data/Shop_item2attributes.json.gz", "SOURCE.txt"], True),
        (["Shop.txt", "Store_item2attributes.json"], False),
        (["Shop.txt"], False),
    ],
)
def test_recognise(names, known):
    assert s3rec.recognise(names) is known


def test_what_is_no_single_data_set_is_refused(ray_session, tmp_path):
    with pytest.raises(UserError, match=r"the log is empty: no rows in .*Shop\.txt\.gz"):
        open_logs(LogsConfig(uri=write(tmp_path / "alone", ["7", "8"], {"1": [1]})))
    uri = write(tmp_path / "log", ["7 1"], {"1": [4]})
    with pytest.raises(UserError, match="no columns to map"):
        open_logs(LogsConfig(uri=uri, columns={"user_id": "u"}))
    with pytest.raises(UserError, match="has no times to choose days by"):
        open_logs(LogsConfig(uri=uri, from_date="1970-01-01"))
    attributes = tmp_path / "log" / "Shop_item2attributes.json.gz"
    attributes.write_bytes(gzip.compress(b"{"))
    with pytest.raises(UserError, match=r"attributes\.json\.gz is not JSON"):
        open_logs(LogsConfig(uri=uri))
    attributes.write_bytes(gzip.compress(b'{"one": [4]}'))
    with pytest.raises(UserError, match="ids of mixed type"):
        open_logs(LogsConfig(uri=uri))
    (tmp_path / "log" / "Store.txt").write_text("7 1\n")
    (tmp_path / "log" / "Store_item2attributes.json").write_text("{}")
    with pytest.raises(UserError, match=r"Shop\.txt\.gz, Store\.txt: put each data set into a folder of its own"):
        open_logs(LogsConfig(uri=uri))


@pytest.mark.parametrize(
    ("folder", "name", "interactions", "users", "items", "untitled"),
    [
        ("amazon-2014-Beauty", "Beauty", 198_502, 22_363, 12_101, 7),
        ("amazon-2014-Sports_and_Outdoors", "Sports_and_Outdoors", 296_337, 35_598, 18_357, None),
        ("amazon-2014-Toys_and_Games", "Toys_and_Games", 167_597, 19_412, 11_924, None),
        ("yelp", "Yelp", 316_354, 30_431, 20_033, None),
    ],
)
def test_real_data_sets_are_whole(ray_session, sample_data, folder, name, interactions, users, items, untitled):
    logs = open_logs(LogsConfig(uri=str(sample_data / folder)))
    table = pa.concat_tables(ray.get(dataset_of(logs.interactions).to_arrow_refs())).sort_by("row")
    assert logs.reader == "s3rec" and table["reason"].null_count == len(table) == interactions
    with gzip.open(sample_data / folder / "data" / f"{name}.txt.gz", "rt") as file:
        lines = [[int(word) for word in line.split()] for line in file]
    lengths = [len(line) - 1 for line in lines]
    assert np.array_equal(table["user_id"], np.repeat([line[0] for line in lines], lengths))
    assert np.array_equal(table["item_id"], np.concatenate([line[1:] for line in lines]))
    assert np.array_equal(
        table["timestamp"].cast(pa.int64()), np.concatenate([np.arange(n) for n in lengths]) * 1_000_000
    )
    assert (len(table["user_id"].unique()), len(table["item_id"].unique())) == (users, items)
    assert set(logs.items["item_id"].to_pylist()) == set(table["item_id"].to_pylist())
    assert (logs.items["text"].null_count if "text" in logs.items.column_names else None) == untitled
