"""Any canonical table comes back as it was, from Parquet, CSV and JSON lines, to the last digit."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep.logs.readers import tabular
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBERS = st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([2**24 + 1, 2**53 + 1, 2**63 - 1, 0]))
WORDS = st.text(st.characters(exclude_categories=["C", "Z"])).map("x".__add__)  # neither a number nor a null
TIMES = st.integers(0, 4 * 10**15).map(lambda micros: EPOCH + timedelta(microseconds=micros))
FORMATS = ("parquet", "csv", "jsonl")
MEANT = LogsConfig(timestamp_origin="1970-01-01")  # also where all times are of 1970


@st.composite
def logs(draw):
    """A canonical table; an id column is of one type, as a log's is, and text columns hold text that is no number."""
    size = draw(st.integers(1, 8))

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    return pa.table(
        {
            "user_id": column(draw(st.sampled_from([NUMBERS, WORDS]))),
            "item_id": column(draw(st.sampled_from([NUMBERS, WORDS]))),
            "timestamp": pa.array(column(TIMES), pa.timestamp("us", tz="UTC")),
            "event": pa.array(column(st.none() | WORDS), pa.string()),
            "rating": pa.array(column(st.none() | st.floats(-1e9, 1e9)), pa.float64()),
        }
    )


def write(table: pa.Table, format: str, folder: Path) -> None:
    if format == "parquet":
        pq.write_table(table, folder / "log.parquet")
    elif format == "csv":
        pacsv.write_csv(table, folder / "log.csv")
    else:
        rows = [{**row, "timestamp": row["timestamp"].isoformat()} for row in table.to_pylist()]
        (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=logs())
def test_a_canonical_table_comes_back(tmp_path: Path, format: str, table: pa.Table) -> None:
    write(table, format, tmp_path)
    layout = LogLayout({name: name for name in table.column_names})
    found = pa.concat_tables(rows for rows, _ in scan(MEANT, list_files(str(tmp_path)), layout).tables([]))
    assert found["reason"].null_count == found.num_rows
    assert found["row"].to_pylist() == list(range(table.num_rows))
    assert found.select(table.column_names).equals(table)


@pytest.mark.parametrize("format", FORMATS)
def test_large_ids_survive_every_path(read, tmp_path: Path, format: str) -> None:
    large = [2**24 + 1, 2**53 + 1, 2**63 - 1]
    times = pa.array([1_600_000_000_000_001] * 3, pa.timestamp("us", tz="UTC"))
    write(pa.table({"user_id": large, "item_id": large[::-1], "timestamp": times}), format, tmp_path)
    log = read(tmp_path)
    assert log.logs.reader == "tabular" and tabular.recognise([f"log.{format}"])
    assert log.rows["user_id"].to_pylist() == large and log.rows["item_id"].to_pylist() == large[::-1]
    assert log.rows["timestamp"].to_pylist() == times.to_pylist()
