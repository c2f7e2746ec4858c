"""Tables of interactions as lists of users, and what an encoder reads beside items."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ray_userrep.encoder.reading import Reads, reads, tidy
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig

ROWS = {
    "user_id": [7, 3, 7, 7, 3],
    "item_id": ["item-2", "item-4", "item-1", "gone", "item-5"],
    "timestamp": pd.to_datetime(["2024-01-03", "2024-01-02", "2024-01-01", "2024-01-03", "2024-01-02"]),
}
PLAIN = Reads(None, ())


def listed(array: pa.Array) -> list[list[str]]:
    return [list(row) for row in array.to_pylist()]


@pytest.mark.parametrize("give", [pd.DataFrame, lambda rows: pa.table(pd.DataFrame(rows)), dict])
def test_rows_go_by_time_and_then_as_they_stand(give):
    users = tidy(give(ROWS), {}, PLAIN)
    assert users.user_ids.to_pylist() == [7, 3]
    assert listed(users.items) == [["item-1", "item-2", "gone"], ["item-4", "item-5"]]
    assert [len(times) for times in listed(users.times)] == [3, 2]


def test_rows_without_times_go_as_they_stand():
    users = tidy(pd.DataFrame(ROWS).drop(columns="timestamp"), {}, PLAIN)
    assert users.times is None
    assert listed(users.items) == [["item-2", "item-1", "gone"], ["item-4", "item-5"]]


def test_columns_have_the_names_that_are_told():
    mapping = {"user_id": "Kunde", "item_id": "Artikel", "timestamp": "wann", "price": "Preis"}
    table = pd.DataFrame(ROWS | {"price": [1.0, 2.0, 3.0, 4.0, 5.0]}).rename(columns=mapping)
    users = tidy(table, mapping, Reads(None, ("price",)))
    assert listed(users.items) == [["item-1", "item-2", "gone"], ["item-4", "item-5"]]
    assert listed(users.fields["price"]) == [[3.0, 1.0, 4.0], [2.0, 5.0]]


def test_users_of_a_category_are_those_that_appear():
    table = pd.DataFrame(ROWS)
    table["user_id"] = pd.Categorical(["b", "a", "b", "b", "a"], categories=["a", "never", "b"])
    users = tidy(table, {}, PLAIN)
    assert users.user_ids.to_pylist() == ["b", "a"]
    assert listed(users.items)[1] == ["item-4", "item-5"]


@pytest.mark.parametrize("columns, wanted, named", [
    ({"user_id": "Kunde"}, PLAIN, r"no column 'Kunde' for user_id; its columns are user_id, item_id, timestamp"),
    ({"colour": "Farbe"}, PLAIN, "columns: 'colour' is nothing that this encoder reads"),
    ({}, Reads(None, ("price",)), r"no column 'price' for price.*columns=\{"),
    ({"timestamp": "when"}, PLAIN, "no column 'when' for timestamp"),
])  # fmt: skip
def test_columns_that_are_not_there_are_refused(columns, wanted, named):
    with pytest.raises(UserError, match=named):
        tidy(pd.DataFrame(ROWS), columns, wanted)


def test_what_is_no_table_and_users_that_are_missing():
    with pytest.raises(UserError, match="a table of interactions is wanted"):
        tidy([["item-1"]], {}, PLAIN)
    with pytest.raises(UserError, match="1 rows have no user"):
        tidy(pd.DataFrame(ROWS | {"user_id": ["a", None, "b", "b", "a"]}), {}, PLAIN)
    with pytest.raises(UserError, match="no column 'timestamp'"):
        tidy(pd.DataFrame(ROWS).drop(columns="timestamp"), {}, Reads("encoder.tempo", ()))


def test_a_table_gives_what_lists_give(make_encoder):
    encoder = make_encoder()
    found = encoder.encode_table(pd.DataFrame(ROWS))
    assert found.column_names == ["user_id", "vector", "interactions"]
    assert found["user_id"].to_pylist() == [7, 3] and found["interactions"].to_pylist() == [2, 2]
    expected = encoder.encode([["item-1", "item-2"], ["item-4", "item-5"]])
    np.testing.assert_array_equal(np.stack(found["vector"].to_pylist()).astype(np.float32), expected)


def test_nobody_is_an_empty_table(make_encoder):
    assert make_encoder().encode_table(pd.DataFrame(ROWS)[:0]).num_rows == 0


def test_users_of_whom_nothing_is_known_are_told_of(make_encoder):
    with pytest.warns(UserWarning, match="1 of 3 users took nothing that the encoder knows"):
        vectors = make_encoder().encode([["gone"], ["item-1", "gone"], []])
    assert (np.abs(vectors).sum(1) > 0).tolist() == [False, True, False]


def test_times_that_go_back_are_refused(make_encoder):
    times = [pd.to_datetime(["2024-01-01"]), pd.to_datetime(["2024-01-03", "2024-01-02"])]
    with pytest.raises(UserError, match="those of user 1 go back"):
        make_encoder().encode([["item-1"], ["item-2", "item-3"]], times)


@pytest.mark.parametrize("config, times_for, columns", [
    ({}, None, ()),
    ({"context": ["event", "price"]}, None, ("event", "price")),
    ({"context": ["price", "gap", "month"]}, "encoder.context gap", ("price",)),
    ({"backbone": {"kind": "hstu"}}, "encoder.backbone.time_bias", ()),
    ({"backbone": {"kind": "hstu", "time_bias": False}}, None, ()),
])  # fmt: skip
def test_what_is_read(config, times_for, columns):
    assert reads(EncoderConfig.model_validate(config)) == Reads(times_for, columns)


@pytest.mark.parametrize("fields, named", [
    ({}, "reads the price of interactions"),
    ({"price": [[1.0]], "event": [["buy"]]}, "'event' is none of those that are read: price"),
    ({"price": [[1.0, 2.0]]}, "as many values of 'price'"),
    ({"price": [["cheap"]]}, "'price' is string, not double"),
])  # fmt: skip
def test_fields_that_do_not_fit_are_refused(table, fields, named):
    encoder = build_encoder(EncoderConfig(width=8, context=("price",)), table, 4).eval()
    with pytest.raises(UserError, match=named):
        encoder.encode([["item-1"]], fields=fields)
