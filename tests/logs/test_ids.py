"""Ids must survive every format exactly, or be refused by name."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs.ids import convert_ids, id_type, inexact
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

COLUMNS = {name: name for name in ("user_id", "item_id", "timestamp")}
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53 + 1, 2**24 + 1, 2**63 - 1, -(2**53) - 1, 0])
# The characters that CSV or the null markers give a meaning to are part of the test; control characters are not.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).map(lambda text: "x" + text)


def write(folder: Path, kind: str, users: list, items: list) -> None:
    rows = [{"user_id": u, "item_id": i, "timestamp": 1} for u, i in zip(users, items, strict=True)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")
    elif kind == "csv":
        with open(folder / "log.csv", "w", newline="") as sink:
            writer = csv.DictWriter(sink, ["user_id", "item_id", "timestamp"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(folder: Path, **config: str) -> pa.Table:
    found = scan(LogsConfig(**config), list_files(str(folder)), LogLayout(COLUMNS))
    return pa.concat_tables([table for table, _ in found.tables([])])


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(WHOLE, TEXT), min_size=1, max_size=20))
def test_ids_survive(tmp_path: Path, kind: str, rows: list[tuple[int, str]]) -> None:
    users, items = [list(column) for column in zip(*rows, strict=True)]
    write(tmp_path, kind, users, items)
    table = read(tmp_path)
    assert table.schema.field("user_id").type == pa.int64()
    assert table["user_id"].to_pylist() == users
    assert table["item_id"].to_pylist() == items


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_text_ids_keep_leading_zeros_and_digits_beyond_int64(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind, ["007", "7"], ["99999999999999999999x", "0"])
    table = read(tmp_path)
    assert table["user_id"].to_pylist() == ["007", "7"]
    assert table["item_id"].to_pylist() == ["99999999999999999999x", "0"]


def test_ids_can_be_kept_as_text(tmp_path: Path) -> None:
    write(tmp_path, "csv", [7, "B7"], [1, 2])
    assert read(tmp_path, ids="string")["item_id"].to_pylist() == ["1", "2"]


def test_whole_floats_become_int64() -> None:
    column = pa.chunked_array([[1.0, None, float("nan"), 2.0**53 - 1]])
    assert id_type(column, "u", "f") == pa.int64()
    assert convert_ids(column, pa.int64(), "u", "f").to_pylist() == [1, None, None, 2**53 - 1]
    assert convert_ids(column, pa.string(), "u", "f").to_pylist() == ["1", None, None, str(2**53 - 1)]
    text = pa.chunked_array([["17850.0", "", None, "3"]])
    assert id_type(text, "u", "f") == pa.int64()
    assert convert_ids(text, pa.int64(), "u", "f").to_pylist() == [17850, None, None, 3]


@pytest.mark.parametrize("values", [[1.5], [2.0**53], [-(2.0**53)], ["1.5"], ["9007199254740992.0"], ["1e300"]])
def test_inexact_floats_are_refused_by_name(values: list) -> None:
    column = pa.chunked_array([values])
    with pytest.raises(UserError, match=r"'customer' of log\.csv holds .* as an id"):
        convert_ids(column, id_type(column, "customer", "log.csv"), "customer", "log.csv")


def test_a_small_float_is_exact_for_smaller_numbers() -> None:
    column = pa.chunked_array([pa.array([2.0**24 - 1, None], pa.float32())])
    assert convert_ids(column, id_type(column, "u", "f"), "u", "f").to_pylist() == [2**24 - 1, None]
    large = pa.chunked_array([pa.array([2.0**24, 1.0], pa.float32())])
    assert inexact(large, pa.int64()).to_pylist() == [True, False]
    with pytest.raises(UserError, match=r"or at least 2\*\*24 is not exact"):
        convert_ids(large, pa.int64(), "u", "f")


def test_whole_decimals_are_ids() -> None:
    column = pa.chunked_array([pa.array([2**53 + 1, None, 7]).cast(pa.decimal128(38, 0))])
    assert id_type(column, "u", "f") == pa.int64()
    assert convert_ids(column, pa.int64(), "u", "f").to_pylist() == [2**53 + 1, None, 7]
    assert convert_ids(column, pa.string(), "u", "f").to_pylist() == [str(2**53 + 1), None, "7"]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_words_for_nothing_are_no_user(tmp_path: Path, kind: str) -> None:
    nothing = ["", " ", "NA", "N/A", "<NA>", "null", "NULL", "nan", "NaN", "None", "\\N"]
    write(tmp_path, kind, [*nothing, "7"], [*range(len(nothing)), 1])
    table = read(tmp_path)
    assert table["user_id"].to_pylist() == [None] * len(nothing) + [7]
    assert table["reason"].to_pylist() == ["missing_user"] * len(nothing) + [None]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_numbers_that_are_not_written_as_whole_ones_are_set_aside_among_whole_ones(tmp_path: Path, kind: str) -> None:
    users = ["1", "2.0", "1e1", "1.5", "1E2", "3"]
    write(tmp_path, kind, users, list(range(6)))
    table = read(tmp_path)
    assert table["user_id"].to_pylist() == [1, 2, None, None, None, 3]
    assert table["reason"].to_pylist() == [None, None, *["inexact_id"] * 3, None]
    assert table["detail"].to_pylist() == [None, None, "1e1", "1.5", "1E2", None]


@pytest.mark.parametrize("values", [[2**63], ["9223372036854775808"], ["12345678901234567890"]])
def test_whole_numbers_beyond_int64_are_refused(values: list) -> None:
    column = pa.chunked_array([pa.array(values, pa.uint64() if isinstance(values[0], int) else pa.string())])
    with pytest.raises(UserError, match=r"beyond int64: .*set logs\.ids string"):
        convert_ids(column, pa.int64(), "u", "f")


@pytest.mark.parametrize(
    "values", [pa.array([[1], [2]]), pa.array([True]), pa.array([b"x"]), pa.array([{"a": 1}])], ids=str
)
def test_other_types_are_refused(values: pa.Array) -> None:
    with pytest.raises(UserError, match="ids are text or whole numbers"):
        id_type(pa.chunked_array([values]), "u", "f")
    with pytest.raises(UserError, match="ids are text or whole numbers"):
        convert_ids(pa.chunked_array([values]), pa.int64(), "u", "f")


def test_mixed_types_over_files_name_both(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a", "csv", [1, 2], [1, 2])
    write(tmp_path / "b", "json", ["x", "y"], [1, 2])
    with pytest.raises(
        UserError, match=r"'user_id' has ids of mixed type: int64 in .*a/log\.csv, string in .*b/log\.jsonl"
    ):
        read(tmp_path)


def test_a_later_id_of_another_type_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "csv", [*range(200_000), "abc"], [1] * 200_001)
    with pytest.raises(UserError, match=r"mixed type: whole numbers so far, 'abc' in .*log\.csv"):
        read(tmp_path)
