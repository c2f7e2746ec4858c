"""Canonical rows: every raw row is there once, with its time in UTC and, where it cannot be used, the reason."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import ColumnMapping, canonicalise
from ray_userrep.logs.times import ISO, TIMESTAMP, parse_timestamps

UTC = dt.UTC
NOTHING = ("", "NULL", "null", "NaN", "nan", "None", "NA", "N/A", "<NA>", "\\N")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def mapping(**columns: str) -> ColumnMapping:
    required = {"user_id": "u", "item_id": "i", "timestamp": "t"}
    return ColumnMapping({**required, **columns}, pa.int64(), pa.string())


def times(values: pa.Array, unit: str = "s", formats: tuple[str, ...] = (ISO,)) -> list[dt.datetime | None]:
    return parse_timestamps(pa.chunked_array([values]), unit, formats, "t", "f").to_pylist()


def test_rows_keep_their_order_and_say_what_is_wrong() -> None:
    raw = pa.table(
        {
            "u": [1, None, 3, 4, 5, 6, None, 8],
            "i": ["a", "b", "", "d", "e", "f", None, "h"],
            "t": ["2020-01-01", "5", "5", None, "yesterday", "-5", "x", "2100-01-01"],
            "unused": [0] * 8,
        }
    )
    table = canonicalise(raw, mapping(), "f.csv", first_row=100)
    assert table.schema == mapping().schema()
    assert table["row"].to_pylist() == list(range(100, 108))
    assert table["reason"].to_pylist() == [
        None,
        "missing_user",
        "missing_item",
        "missing_timestamp",
        "bad_timestamp",
        "negative_timestamp",
        "missing_user",
        "absurd_timestamp",
    ]
    assert table["user_id"].to_pylist() == [1, None, 3, 4, 5, 6, None, 8]
    assert table["file"].to_pylist() == [None, *["f.csv"] * 7]
    assert table["detail"].to_pylist() == [None, None, None, None, "yesterday", "-5", None, "2100-01-01"]
    assert table["timestamp"][1].as_py() == EPOCH + dt.timedelta(seconds=5)


def test_the_readers_own_reason_comes_first() -> None:
    raw = pa.table({"u": [None, 1], "i": ["a", "b"], "t": [1, 1]})
    reasons = pa.chunked_array([pa.array(["cancellation", None])])
    assert canonicalise(raw, mapping(), "f", 0, reasons)["reason"].to_pylist() == ["cancellation", None]


def test_optional_columns_have_one_type_wherever_they_come_from() -> None:
    with_options = mapping(rating="stars", event="what", price="cost")
    raw = pa.table({"u": [1, 2], "i": ["a", "b"], "t": [1, 2], "stars": ["4.5", "bad"], "what": [3, None]})
    table = canonicalise(raw, with_options, "f", 0)
    assert table.schema == with_options.schema()
    assert table.select(["event", "rating", "price"]).to_pydict() == {
        "event": ["3", None],
        "rating": [4.5, None],
        "price": [None, None],
    }


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"u": [1], "t": [1]}, r"f\.csv has no column 'i' for item_id; its columns are u, t"),
        ({"u": [[1]], "i": ["a"], "t": [1]}, r"column 'u' of f\.csv is list"),
        ({"u": [1], "i": ["a"], "t": [[1]]}, r"column 't' of f\.csv is list<.*: timestamps are"),
        ({"u": [1], "i": ["a"], "t": [1], "r": [[1]]}, r"column 'r' of f\.csv is list<.*should be double"),
    ],
)
def test_wrong_columns_are_named(raw: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        canonicalise(pa.table(raw), mapping(rating="r"), "f.csv", 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1.0, 1.5, 2.0**53, None, float("inf")]), [1, None, None, None, None]),
        (pa.array(["1.0", "1.5", "9007199254740992.0", "", "1e300"]), [1, None, None, None, None]),
        (pa.array(["9007199254740993", "9007199254740991.0", "0.5", None, "7"]), [2**53 + 1, 2**53 - 1, None, None, 7]),
    ],
    ids=str,
)
def test_ids_that_a_float_has_lost_are_rejected_row_by_row(values: pa.Array, expected: list[int | None]) -> None:
    raw = pa.table({"u": values, "i": ["a"] * 5, "t": [1] * 5})
    table = canonicalise(raw, mapping(), "f", 0)
    assert table["user_id"].to_pylist() == expected
    missing = [value in (None, "") for value in values.to_pylist()]
    reasons = [
        "missing_user" if gone else "inexact_id" if value is None else None
        for gone, value in zip(missing, expected, strict=True)
    ]
    assert table["reason"].to_pylist() == reasons
    told = [
        text if reason == "inexact_id" else None
        for text, reason in zip(values.cast("string").to_pylist(), reasons, strict=True)
    ]
    assert table["detail"].to_pylist() == told


@given(st.lists(st.binary(max_size=6) | st.text(max_size=4).map(str.encode), min_size=1, max_size=20))
def test_bytes_are_ids_exactly_where_they_are_text(items: list[bytes]) -> None:
    def text(value: bytes) -> str | None:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None

    stored = pa.array(items, pa.binary())
    for column in (stored, stored.view(pa.string())):  # Parquet does not check what it calls text
        raw = pa.table({"u": [1] * len(items), "i": column, "t": [1] * len(items), "what": column})
        table = canonicalise(raw, mapping(event="what"), "f", 0)
        expected = [text(value) for value in items]
        filled = [value and ("" if value.strip(" \t") in NOTHING else value) for value in expected]
        assert table["item_id"].to_pylist() == [value or None for value in filled]
        assert table["event"].to_pylist() == expected
        reasons = {None: "invalid_text", "": "missing_item"}
        assert table["reason"].to_pylist() == [reasons.get(value) for value in filled]


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))
def test_every_spelling_of_a_time_is_the_same_time(moment: dt.datetime) -> None:
    expected = [moment.replace(tzinfo=UTC)]
    micros = (expected[0] - EPOCH) // dt.timedelta(microseconds=1)
    assert times(pa.array([micros]), "us") == expected
    assert times(pa.array([micros * 1000]), "ns") == expected
    assert times(pa.array([str(micros)]), "us") == expected
    assert times(pa.array([moment.isoformat()])) == expected
    assert times(pa.array([moment.isoformat(" ") + "+00:00"])) == expected
    assert times(pa.array([moment], pa.timestamp("us"))) == expected
    assert times(pa.array([moment], pa.timestamp("us", tz="America/New_York"))) == expected
    whole = [expected[0].replace(microsecond=0)]
    assert times(pa.array([moment.strftime("%d/%m/%Y %H.%M.%S")]), formats=("%d/%m/%Y %H.%M.%S",)) == whole
    seconds = int((whole[0] - EPOCH).total_seconds())
    assert times(pa.array([seconds])) == times(pa.array([float(seconds)])) == times(pa.array([f"{seconds}.0"])) == whole
    assert times(pa.array([seconds * 1000]), "ms") == whole
    assert times(pa.array([moment.date()])) == [dt.datetime.combine(moment.date(), dt.time(), UTC)]


def test_zones_are_converted() -> None:
    assert times(pa.array(["2020-01-01T05:00:00+05:00"])) == [dt.datetime(2020, 1, 1, tzinfo=UTC)]


def test_formats_are_tried_in_order_and_numbers_only_without_one() -> None:
    values = pa.array(["2010-12-01 08:26:00", "12/1/2010 8:26", "1291191960", None, "soon"])
    moment = dt.datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert times(values, formats=(ISO, "%m/%d/%Y %H:%M")) == [moment, moment, moment, None, None]
    assert times(values, formats=("%m/%d/%Y %H:%M",)) == [None, moment, None, None, None]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1_600_000_000_000, 2**63 - 1, -(2**63)]),
        pa.array([2**64 - 2**60], pa.uint64()),
        pa.array([float("nan"), float("inf"), -float("inf"), 1e18]),
        pa.array(["1600000000000", "2020-13-01", "99999999999999999999"]),
        pa.array([None, None]),
    ],
    ids=str,
)
def test_what_is_no_time_is_null(values: pa.Array) -> None:
    found = parse_timestamps(pa.chunked_array([values]), "s", (ISO,), "t", "f")
    assert found.type == TIMESTAMP
    unusable = [moment is None or moment < EPOCH for moment in found.to_pylist()]
    assert all(unusable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02 21:39:04 UTC", dt.datetime(2024, 1, 2, 21, 39, 4)),
        (" 2024-01-02T21:39:04,5 GMT", dt.datetime(2024, 1, 2, 21, 39, 4, 500_000)),
        ("2023-12-31T24:00:00", dt.datetime(2024, 1, 1)),
        ("2024-02-28 24:00+01:00", dt.datetime(2024, 2, 28, 23)),
        ("2024-01-01T24:00:01", None),
        ("1.704231544e+09", dt.datetime(2024, 1, 2, 21, 39, 4)),
        (" +1704231544 ", dt.datetime(2024, 1, 2, 21, 39, 4)),
        ("1E9", dt.datetime(2001, 9, 9, 1, 46, 40)),
    ],
)
def test_other_spellings(text: str, expected: dt.datetime | None) -> None:
    assert times(pa.array([text, None])) == [expected and expected.replace(tzinfo=UTC), None]


def test_days_count_from_the_origin() -> None:
    expected = [dt.datetime(2024, 1, 2, 12, tzinfo=UTC)]
    for values, origin in (([19_724.5], 0), ([45_293.5], -25_569), (["45293.5"], -25_569)):
        column = pa.chunked_array([values])
        assert parse_timestamps(column, "d", (ISO,), "t", "f", origin).to_pylist() == expected


def test_exact_types_of_whole_numbers_are_read() -> None:
    moment = dt.datetime(2024, 1, 2, tzinfo=UTC)
    assert times(pa.array([1_704_153_600]).cast(pa.decimal128(38, 0))) == [moment]
    assert times(pa.array([20_240_102]), formats=("%Y%m%d",)) == [moment]
    with pytest.raises(UserError, match=r"'t' of f is float, in which times from 2\*\*24 on are rounded: store"):
        times(pa.array([1_704_153_600.0], pa.float32()))
    assert times(pa.array([19_724.0], pa.float32()), "d") == [moment]


def test_numbers_that_cannot_be_read_are_kept_as_they_stood() -> None:
    text = ["12,50", "1.234,56", " 3.5", "4", "NA", "", None, "free", "-1e2 ", "1.5"]
    raw = pa.table({"u": [1] * 9 + [None], "i": ["a"] * 10, "t": [1] * 10, "p": text, "r": pa.array([2.5] * 10)})
    table = canonicalise(raw, mapping(price="p", rating="r"), "f.csv", 0)
    assert table["price"].to_pylist() == [None, None, 3.5, 4.0, None, None, None, None, -100.0, 1.5]
    assert table["unread price"].to_pylist() == ["12,50", "1.234,56", *[None] * 5, "free", None, None]
    assert table["unread rating"].null_count == 10
    assert [row for row, file in enumerate(table["file"].to_pylist()) if file] == [0, 1, 7, 9]
    assert table["reason"].to_pylist() == [None] * 9 + ["missing_user"]
