"""The other columns of the users' table: how they are read, what heads are given, which of them tell the label."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.errors import UserError
from ray_userrep.transfer.tasks.columns import as_inputs, read_columns, refuse_leaks

NUM = 200
IDS = pa.array(np.arange(NUM))
HASHES = hash_ids(IDS)
RNG = np.random.default_rng(0)
FIT, TUNE = np.arange(120), np.arange(120, NUM)


def read(wanted=None, target=None, users=HASHES, **columns):
    return read_columns(pa.table({"user_id": IDS} | columns), users, wanted, target)


def test_numbers_stay_and_classes_are_coded_for_each_user_whatever_the_order():
    spent = RNG.normal(size=NUM)
    town = np.array(["here", "there", "nowhere"])[RNG.integers(0, 3, NUM)]
    town[:3] = ["rare one", "rare two", "rare two"]
    order = RNG.permutation(NUM)[:50]
    found = read(users=HASHES[order], spent=spent, town=town)
    assert found.names == ("spent", "town") and found.is_class_F.tolist() == [False, True]
    assert found.values_UF[:, 0].tolist() == spent[order].tolist()
    whole = read(spent=spent, town=town).values_UF[:, 1]
    assert len(set(whole[:3])) == 1  # other
    pairs = set(zip(np.where(np.char.startswith(town, "rare"), "other", town), whole, strict=True))
    assert len(pairs) == 4 == len({code for _, code in pairs})


def test_what_is_missing_is_missing_and_so_is_a_user_without_a_row():
    spent, town = [None, float("nan"), *map(float, range(2, NUM))], [None, *["a", "b"] * 99, "a"]
    users = np.append(HASHES, hash_ids(pa.array([10**6])))
    found = read(users=users, spent=spent, town=town)
    assert np.flatnonzero(np.isnan(found.values_UF[:, 0])).tolist() == [0, 1, NUM]
    assert np.flatnonzero(np.isnan(found.values_UF[:, 1])).tolist() == [0, NUM]
    inputs = as_inputs(found, FIT)
    _, flag_spent, *_, flag_town = inputs.T
    assert flag_spent.nonzero()[0].tolist() == [0, 1, NUM] and flag_town.nonzero()[0].tolist() == [0, NUM]
    assert not inputs[NUM, [0, 2, 3]].any()


def test_ids_and_lists_are_left_out_and_dates_are_numbers():
    days = [date(2020, 1, 1) + timedelta(days=user) for user in range(NUM)]
    found = read(target="age", name=[f"n{u}" for u in range(NUM)], tags=[["a"]] * NUM, since=days, age=np.arange(NUM))
    assert found.names == ("since",) and np.allclose(np.diff(found.values_UF[:, 0]), 86_400 * 10**6)
    assert read(wanted=(), since=days).values_UF.shape == (NUM, 0)
    assert read_columns(None, HASHES, None, None).names == ()


def test_heads_are_given_a_number_a_class_and_numbers_in_the_scale_of_the_training_users():
    spent = RNG.normal(3, 7, NUM)
    spent[TUNE] += 100
    found = read(spent=spent, town=["a", "b"] * (NUM // 2))
    inputs = as_inputs(found, FIT)
    expected = ((spent - spent[FIT].mean()) / spent[FIT].std()).clip(-5, 5)
    assert inputs[:, 0] == pytest.approx(expected, abs=1e-5)
    assert (inputs[:, 1:3].sum(1) == 1).all() and (inputs[::2, 1] == inputs[0, 1]).all()
    assert (inputs[1::2, 1] != inputs[0, 1]).all()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("age",), r"transfer\.columns names age, which transfer\.task predicts"),
        (("height",), r"transfer\.columns: no 'height' among the users' columns age, name, tags"),
        (("name",), r"transfer\.columns name: it has neither numbers nor a value that ten users share"),
        (("tags",), r"transfer\.columns tags: it has neither numbers nor a value"),
    ],
)
def test_columns_that_cannot_be_read_are_refused_by_name(wanted, message):
    with pytest.raises(UserError, match=message) as caught:
        read(wanted, "age", age=np.arange(NUM), name=[f"n{u}" for u in range(NUM)], tags=[["a"]] * NUM)
    assert "\n" not in str(caught.value)


def check(labels, num_classes, **columns):
    refuse_leaks("asked", read(**columns), np.asarray(labels, float), num_classes, FIT, TUNE)


LABELS = RNG.integers(0, 2, NUM)
RARE = (np.arange(NUM) % 10 == 0).astype(int)


@pytest.mark.parametrize(
    ("labels", "num_classes", "column"),
    [
        (LABELS, 2, np.array(["no", "yes"])[LABELS]),
        (LABELS, 2, LABELS * 100 + np.arange(NUM) % 50),
        (RARE, 2, np.array(["no", "yes"])[RARE]),
        (LABELS, 2, [None if label else 1.5 for label in LABELS]),
        (np.arange(NUM) % 50 * 3.0, 0, np.arange(NUM) % 50 + 1000),
    ],
)
def test_a_column_that_tells_the_label_is_refused_with_the_way_out(labels, num_classes, column):
    spent = RNG.normal(size=NUM)
    with pytest.raises(UserError, match=r"""users' column told tells .* transfer\.columns '\["spent"\]'""") as caught:
        check(labels, num_classes, told=column, spent=spent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "num_classes", "column"),
    [
        (LABELS, 2, np.array(["no", "yes"])[np.where(np.arange(NUM) % 20 == 0, 1 - LABELS, LABELS)]),
        (LABELS, 2, RNG.normal(size=NUM)),
        (RARE, 2, RNG.normal(size=NUM)),
        (np.zeros(NUM), 2, ["a", "b"] * (NUM // 2)),
        (np.arange(NUM) % 50 + RNG.normal(0, 5, NUM), 0, np.arange(NUM) % 50),
        (LABELS, 2, [None] * 120 + ["a"] * (NUM - 120)),
    ],
)
def test_columns_that_say_much_or_nothing_stay(labels, num_classes, column):
    check(labels, num_classes, told=column)
