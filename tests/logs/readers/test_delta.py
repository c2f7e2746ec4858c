"""Delta tables: what was deleted stays deleted, columns added later, and ids that no float holds."""

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.readers import delta
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

deltalake = pytest.importorskip("deltalake")


def table(users, items, seconds, **more):
    times = pa.array([second * 10**6 for second in seconds], pa.timestamp("us", tz="UTC"))
    return pa.table({"user_id": pa.array(users, pa.int64()), "item_id": items, "timestamp": times, **more})


def rows(log, *more):
    return sorted(log.short(*more))


def test_the_newest_version(read, tmp_path):
    place = tmp_path / "log"
    deltalake.write_deltalake(place, table([1, 2], ["a", "b"], [10, 20]))
    deltalake.write_deltalake(place, table([2**53 + 1], ["007"], [30]), mode="append")
    first = open_logs(LogsConfig(uri=str(place))).fingerprint
    deltalake.DeltaTable(place).delete("user_id = 2")
    log = read(place)
    assert log.logs.reader == "delta" and log.logs.fingerprint != first
    assert rows(log) == [(1, "a", 10), (2**53 + 1, "007", 30)]
    assert log.rows.schema.field("user_id").type == pa.int64() and not log.reasons


def test_only_the_days_that_are_wanted(read, tmp_path):
    deltalake.write_deltalake(tmp_path / "log", table([1, 2, 3], ["a", "b", "c"], [0, 86_400, 2 * 86_400]))
    assert rows(read(tmp_path / "log", from_date="1970-01-02", to_date="1970-01-02")) == [(2, "b", 86_400)]


def test_columns_added_later_and_partitions(read, tmp_path):
    place = tmp_path / "log"
    deltalake.write_deltalake(place, table([1], ["a"], [10], domain=["toys"]), partition_by=["domain"])
    new = table([3], [None], [30], domain=["books"], rating=[4.5])
    deltalake.write_deltalake(place, new, mode="append", schema_mode="merge")
    log = read(place)
    assert {(row["user_id"], row["domain"], row["rating"]) for row in log.rows.to_pylist()} == {
        (1, "toys", None),
        (3, "books", 4.5),
    }
    assert log.reasons == {"missing_item": 1}


def test_rows_have_the_same_numbers_on_every_read(read, tmp_path):
    deltalake.write_deltalake(tmp_path / "log", table([1] * 50, [str(n) for n in range(50)], [5] * 50))
    one, two = (read(tmp_path / "log").rows for _ in range(2))
    assert one.equals(two)


def test_a_table_in_an_object_store(read, s3_uri):
    options = {"aws_allow_http": "true", "aws_conditional_put": "etag"}
    deltalake.write_deltalake(f"{s3_uri}/log", table([1], ["a"], [10]), storage_options=options)
    assert rows(read(f"{s3_uri}/log")) == [(1, "a", 10)]


def test_columns_are_mapped(read, tmp_path):
    deltalake.write_deltalake(tmp_path / "log", table([1], ["a"], [10]).rename_columns(["who", "what", "when"]))
    columns = {"user_id": "who", "item_id": "what", "timestamp": "when"}
    assert rows(read(tmp_path / "log", columns=columns)) == [(1, "a", 10)]
    with pytest.raises(UserError, match=r"log has no column 'user_id' for user_id, .*its columns are who, what, when"):
        open_logs(LogsConfig(uri=str(tmp_path / "log")))


def test_ids_of_a_wrong_type(ray_session, tmp_path):
    wrong = table([1], ["a"], [10]).set_column(0, "user_id", pa.array([True]))
    deltalake.write_deltalake(tmp_path / "log", wrong)
    with pytest.raises(UserError, match=r"column 'user_id' of .*log is bool: ids are text or whole numbers"):
        open_logs(LogsConfig(uri=str(tmp_path / "log")))


def test_no_table(ray_session, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"")
    assert not delta.recognise(["a.parquet"])
    with pytest.raises(UserError, match="one Delta table is needed, 1 files hold 0"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="delta"))
