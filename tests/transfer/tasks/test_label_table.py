"""Tables of labels as people have them: what is read of them, and what is refused in a line."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.transfer.tasks.label_table import ALWAYS, read_label_table

NUM = 120
DAY = dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)


def read(corpus, tmp_path, **columns):
    place = str(tmp_path / "labels.parquet")
    storage.write_parquet(place, pa.table({"user_id": np.arange(NUM)} | columns))
    return read_label_table(place, corpus, {})


def test_classes_come_in_their_order_and_rare_ones_are_left_out(corpus, tmp_path):
    table = read(corpus, tmp_path, label=["yes"] * 50 + ["no"] * 60 + ["rare"] * 9 + [None])
    assert table.classes == ["no", "yes"] and table.left_out == {"unlabelled": 1, "of_rare_class": 9}
    assert table.values.tolist() == [1.0] * 50 + [0.0] * 60 and table.user_ids.to_pylist() == list(range(110))
    assert (table.until_E == ALWAYS).all() and table.parts_E is None
    assert read(corpus, tmp_path, label=np.arange(NUM) % 2 == 0).values.tolist() == [1.0, 0.0] * 60
    assert read(corpus, tmp_path, label=pa.array(["b", "a"] * 60).dictionary_encode()).classes == ["a", "b"]


def test_numbers_with_many_values_are_values_also_as_text(corpus, tmp_path):
    amounts = np.arange(NUM) * 1.5
    for label in (amounts, [str(amount) for amount in amounts]):
        table = read(corpus, tmp_path, label=label)
        assert table.classes == [] and table.values.tolist() == amounts.tolist()
    assert read(corpus, tmp_path, label=["10", "9"] * 60).classes == ["9", "10"]


@pytest.mark.parametrize(
    "labels",
    [
        [["a", "b"], ["b"], []] * 40,
        ['["a", "b"]', '["b"]', "[]"] * 40,
        ["a|b", " b ", ""] * 40,
    ],
)
def test_several_labels_are_lists_json_or_separated(corpus, tmp_path, labels):
    table = read(corpus, tmp_path, labels=labels)
    assert table.classes == ["a", "b"] and table.values.tolist() == [[1, 1], [0, 1], [0, 0]] * 40


def test_labels_that_tell_nobody_apart_are_left_out(corpus, tmp_path, capsys):
    lists = [["all", "half" if user % 2 else "other", f"own-{user}"] for user in range(NUM)]
    assert read(corpus, tmp_path, labels=lists).classes == ["half", "other"]
    assert "2 of 123" in capsys.readouterr().out


@pytest.mark.parametrize("until", [[DAY], [DAY.date()], ["2024-01-31T12:00:00Z"], [DAY.timestamp()]])
def test_dates_of_any_spelling(corpus, tmp_path, until):
    table = read(corpus, tmp_path, label=["a", "b"] * 60, until=until * (NUM - 1) + [None])
    expected = DAY if not isinstance(until[0], dt.date) or isinstance(until[0], dt.datetime) else DAY.replace(hour=0)
    assert set(table.until_E[:-1]) == {int(expected.timestamp()) * 10**6} and table.until_E[-1] == ALWAYS


def test_a_split_is_heeded_and_text_files_do_as_well(corpus, tmp_path):
    place, parts = tmp_path / "labels.csv", ["train", "validation", "test", "train"]
    lines = [f"{user},{'ab'[user % 2]},{parts[user % 4]},2024-01-31" for user in range(NUM)]
    place.write_text("\n".join(["user_id,label,split,until", *lines]))
    table = read_label_table(str(place), corpus, {})
    assert table.parts_E.tolist() == ["train", "valid", "test", "train"] * 30
    assert table.user_ids.type == pa.int64() and table.classes == ["a", "b"] and len(set(table.until_E)) == 1


def test_a_table_may_have_names_of_its_own(corpus, tmp_path):
    place = tmp_path / "abwanderung.csv"
    lines = [f"{user};2024-01-31;{user % 2}" for user in range(NUM)]
    place.write_text("\n".join(["Kundennummer;Stichtag;abgewandert", *lines]))
    with pytest.raises(UserError, match=r"no column user_id; it has Kundennummer, Stichtag.*transfer\.task\.columns"):
        read_label_table(str(place), corpus, {})
    names = {"user_id": "Kundennummer", "until": "Stichtag", "label": "abgewandert"}
    table = read_label_table(str(place), corpus, names)
    assert table.values.tolist() == [0.0, 1.0] * (NUM // 2) and table.until_E.max() < ALWAYS
    with pytest.raises(UserError, match=r"transfer\.task\.columns label: .* has no column gone; it has Kundennummer"):
        read_label_table(str(place), corpus, names | {"label": "gone"})
    place.write_text("\n".join(["label;user_id;abgewandert", *lines]))
    with pytest.raises(UserError, match="has both abgewandert and label"):
        read_label_table(str(place), corpus, {"label": "abgewandert"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "neither label nor labels"),
        ({"label": ["a", "b"] * 60, "labels": ["a"] * NUM}, "one of them is meant"),
        ({"label": ["a"] * NUM}, "120 labels of 1 classes"),
        ({"label": [["a"]] * NUM}, "call the column labels"),
        ({"labels": ["a"] * NUM}, "ten rows have and ten have not"),
        ({"labels": ['["a"'] * NUM}, "is no JSON"),
        ({"labels": np.arange(NUM)}, "has int64 in labels"),
        ({"label": ["a", "b"] * 60, "until": ["soon"] * NUM}, "'soon' in until, which is no time"),
        ({"label": ["a", "b"] * 60, "split": ["dev"] * NUM}, "'dev' in split, which takes train, validation or test"),
        ({"label": ["a", "b"] * 60, "split": [None, "train"] * 60}, "None in split"),
        ({"label": ["a", "b"] * 60, "user_id": [1, 2] * 60}, "several rows of one user and one date, 2 times"),
    ],
)
def test_what_cannot_be_meant_is_refused(corpus, tmp_path, columns, message):
    with pytest.raises(UserError, match=rf"transfer\.task\.labels.*{message}"):
        read(corpus, tmp_path, **columns)
