"""Histories in every form that callers hold them in, and the forms that would be read as other users."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.given import microseconds_of, read_lists
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig

TEXTS = [["item-3", "item-1"], [], ["item-29"]]
SQUARE = [["item-3", "item-1"], ["item-4", "item-29"]]


def of_numbers() -> UserEncoder:
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=8), ItemTable(pa.table({"item_id": [7, 8, 9], "count": [3, 2, 1]})), 4)


@pytest.mark.parametrize("give", [
    tuple,
    lambda lists: [np.array(row, object) for row in lists],
    lambda lists: pa.array(lists, pa.large_list(pa.large_string())),
    lambda lists: pa.array(lists, pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    lambda lists: pa.array(lists, pa.list_view(pa.string_view())),
    lambda lists: pa.chunked_array([lists[:1], lists[1:]]),
    lambda lists: pa.table({"items": lists}),
    pd.Series,
    lambda lists: pd.Series([lists[0], None, lists[2]]),
    lambda lists: pd.Series([lists[0], np.nan, lists[2]], index=[5, 3, 3]),
    lambda lists: pd.Series([lists[0], pd.NA, lists[2]], dtype=pd.ArrowDtype(pa.list_(pa.string()))),
    lambda lists: pd.DataFrame({"items": lists}),
])  # fmt: skip
def test_every_form_of_one_list_a_user(make_encoder, give):
    encoder = make_encoder()
    np.testing.assert_array_equal(encoder.encode(give(TEXTS)), encoder.encode(TEXTS))


@pytest.mark.parametrize("give", [np.array, lambda lists: pa.array(lists, pa.list_(pa.string(), 2))])
def test_tables_of_two_axes(make_encoder, give):
    encoder = make_encoder()
    np.testing.assert_array_equal(encoder.encode(give(SQUARE)), encoder.encode(SQUARE))


def test_tables_of_numbers():
    encoder, numbers = of_numbers(), [[7, 9], [8, 7]]
    for given in (np.array(numbers, np.int32), torch.tensor(numbers), pa.array(numbers, pa.list_(pa.uint8()))):
        np.testing.assert_array_equal(encoder.encode(given), encoder.encode(numbers))


@pytest.mark.parametrize("given, named", [
    ("item-3", "given 'item-3'"),
    (["item-3", "item-1"], "'item-3' for user 0"),
    ([["item-3"], "item-1"], "'item-1' for user 1"),
    ([["item-3"], 5], "5 for user 1"),
    ({"u": ["item-3"]}, "{'u': "),
    ([{"item-3": 1}], "for user 0"),
    ([{"item-3"}], "for user 0"),
    (5, "given 5"),
    (None, "given None"),
    (np.array(["item-3", "item-1"]), "for user 0"),
    (pd.Series(["item-3", "item-1"]), "for user 0"),
    (pd.DataFrame({"user": [1], "items": [["item-3"]]}), r"\['user', 'items'\]"),
    (pa.array(["item-3"]), "a column of string"),
    (pa.table({"items": ["item-3"]}), "a column of string"),
])  # fmt: skip
def test_what_is_not_one_list_a_user_is_refused(make_encoder, given, named):
    with pytest.raises(UserError, match=rf"a list of item ids for each user.*{named}") as caught:
        make_encoder().encode(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [
    [["item-3", 5]], [[["item-3"]]], [["\ud800"]], [[2**64]], [[b"item-3"]], [[1.5]], np.zeros((1, 2, 3))
])  # fmt: skip
def test_ids_that_are_none_are_one_line(make_encoder, given):
    for encoder in (make_encoder(), of_numbers()):
        with pytest.raises(UserError, match="item ids") as caught:
            encoder.encode(given)
        assert "\n" not in str(caught.value)


def test_numbers_beyond_those_of_the_table_are_refused():
    with pytest.raises(UserError, match="do not fit int64"):
        of_numbers().encode(pa.array([[2**63]], pa.list_(pa.uint64())))


def test_options_that_are_none_are_refused(make_encoder):
    encoder = make_encoder()
    for options, named in (({"unknown": "raise"}, "unknown: .*'raise'"), ({"batch_tokens": 0}, "batch_tokens")):
        with pytest.raises(UserError, match=named):
            encoder.encode(TEXTS, **options)
    with pytest.raises(UserError, match="until: takes a datetime"):
        encoder.encode(TEXTS, until="2024-01-01")


def test_times_in_every_form():
    aware = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)]
    plain = [moment.replace(tzinfo=None) for moment in aware]
    fine = pa.array([1704067200_000000_999, 1704153600_000000_000], pa.timestamp("ns"))
    for given in (pa.array(aware), fine, pa.array(pd.to_datetime(plain)), pa.array(["2024-01-01", "2024-01-02"])):
        assert microseconds_of(given).tolist() == [1704067200_000000, 1704153600_000000]


@pytest.mark.parametrize(
    "given", [[[None, None]], [["yesterday", "today"]], [[0.5, 1.5]], [[1704067200, 1704153600]], [[{}, {}]], "ab"]
)
def test_times_that_are_none_are_one_line(make_encoder, given):
    with pytest.raises(UserError, match="times") as caught:
        make_encoder().encode([["item-3", "item-1"]], given)
    assert "\n" not in str(caught.value)


def test_nobody_and_nothing():
    for given in ([], [[], None], pa.array([], pa.list_(pa.string())), pd.Series([], dtype=object)):
        lists = read_lists(given, pa.string(), "item ids")
        assert len(lists.values_N) == 0 and not lists.lengths_B.any() and len(lists.lengths_B) == len(given)
