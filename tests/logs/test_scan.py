"""Logs of many files: folders as columns, mixed schemas, ranges of days, and what makes a file's rows unusable."""

import datetime as dt
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs import files, reading
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED
from ray_userrep.logs.hive import prune
from ray_userrep.logs.reading import ROWS_PER_FILE, LogLayout, Scan, together
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import unknown_files
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

LAYOUT = LogLayout({name: name for name in (*REQUIRED, *OPTIONAL)})
NOON = int(dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC).timestamp())
DAY = 86_400


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


def event(number: int, **other: Any) -> dict[str, Any]:
    return {"user_id": number % 3, "item_id": f"i{number}", "timestamp": NOON + number, **other}


def opened(folder: Path, **config: Any) -> Scan:
    chosen = LogsConfig(uri=str(folder), **config)
    return scan(chosen, prune(chosen, list_files(str(folder))), LAYOUT)


def rows(found: Scan) -> list[dict[str, Any]]:
    return pa.concat_tables([table for table, _ in found.tables([])]).to_pylist()


def test_folders_fill_canonical_columns_that_files_lack(tmp_path: Path) -> None:
    write(tmp_path / "date=2024-01-01" / "domain=a%20b" / "x.csv", [event(0)])
    write(tmp_path / "date=2024-01-01" / "domain=__HIVE_DEFAULT_PARTITION__" / "x.parquet", [event(1)])
    write(tmp_path / "date=2024-01-02" / "domain=c" / "price=1.5" / "x.jsonl", [event(2, domain="its own")])
    found = rows(opened(tmp_path))
    assert {(row["item_id"], row["domain"], row["price"]) for row in found} == {
        ("i0", "a b", None),
        ("i1", None, None),
        ("i2", "its own", 1.5),
    }
    assert "date" not in found[0]


def test_a_folder_is_the_time_only_where_that_is_said(tmp_path: Path) -> None:
    write(tmp_path / "date=2024-01-02" / "x.csv", [{"user_id": 1, "item_id": 2}])
    with pytest.raises(
        UserError, match=r"x\.csv has no column 'timestamp' .*its columns are user_id, item_id, date: map"
    ):
        opened(tmp_path)
    found = rows(opened(tmp_path, columns={"timestamp": "date"}))
    assert found[0]["timestamp"] == dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_may_differ_in_format_columns_and_number_types(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, expected = tmp_path_factory.mktemp("log"), []
    for number in range(data.draw(st.integers(1, 5))):
        suffix = data.draw(st.sampled_from([".csv", ".jsonl", ".parquet"]))
        own = data.draw(st.sets(st.sampled_from(["rating", "event", "unused"])))
        stored = []
        for place in range(data.draw(st.integers(1, 4))):
            values: dict[str, Any] = {"rating": place + 0.5 * (number % 2), "event": f"e{place}", "unused": place}
            stored.append(event(place, **{name: values[name] for name in sorted(own)}))
        write(folder / f"{number}{suffix}", stored)
        rating = [float(row["rating"]) if "rating" in own else None for row in stored]
        expected += [(row["user_id"], row["item_id"], row.get("event")) for row in stored]
        found = rows(opened(folder))
        assert [row.get("rating") for row in found][-len(stored) :] == rating
    assert [(row["user_id"], row["item_id"], row.get("event")) for row in found] == expected
    assert all(row["reason"] is None for row in found)
    assert [row["row"] for row in found] == sorted(row["row"] for row in found)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_ids_that_change_between_numbers_and_text_are_refused(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "date=2024-01-01" / f"x{suffix}", [event(0)])
    write(tmp_path / "date=2024-01-02" / f"x{suffix}", [event(1) | {"user_id": "ann"}])
    with pytest.raises(UserError, match=r"'user_id' has ids of mixed type: int64 in .*-01/x\S+, string in .*-02/x"):
        opened(tmp_path)


def test_a_range_of_days_goes_by_folders_then_by_time(tmp_path: Path) -> None:
    for day in range(4):
        write(tmp_path / f"date=2024-01-0{day + 1}" / "x.csv", [event(day * DAY), event(day * DAY + DAY)])
    found = rows(opened(tmp_path, from_date=dt.date(2024, 1, 2), to_date=dt.date(2024, 1, 3)))
    assert [row["item_id"] for row in found] == [f"i{number * DAY}" for number in (1, 2, 2, 3)]
    write(tmp_path / "plain" / "x.csv", [event(n * DAY) for n in range(4)] + [event(1) | {"timestamp": "never"}])
    found = rows(opened(tmp_path / "plain", from_date=dt.date(2024, 1, 2), to_date=dt.date(2024, 1, 3)))
    assert [row["item_id"] for row in found] == [f"i{DAY}", f"i{2 * DAY}", "i1"]
    assert [row["reason"] for row in found] == [None, None, "bad_timestamp"]


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", [event(0, rating=1.0, event="buy", note="long")])
    ((table, raw),) = opened(tmp_path, side_columns=["event"]).tables([])
    assert table.column_names == ["user_id", "item_id", "timestamp", "row", "event", "reason", "file", "detail"]
    assert set(raw.column_names) == {"user_id", "item_id", "timestamp", "event"}


def test_small_files_share_a_task_and_large_ones_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        write(tmp_path / f"{number}.csv", [event(number)])
    pq.write_table(pa.Table.from_pylist([event(n) for n in range(90)]), tmp_path / "x.parquet", row_group_size=10)
    monkeypatch.setattr(files, "_PART_ROWS", 30)
    monkeypatch.setattr(reading, "_TASK_FILES", 4)
    work = opened(tmp_path).work
    tasks = together(work)
    assert [piece for task in tasks for piece in task] == work
    assert [len(task) for task in tasks] == [4, 4, 4, 1]
    assert [piece.part.first_row for piece in work[-3:]] == [0, 30, 60]
    monkeypatch.setattr(reading, "_MAX_TASK_BYTES", 0)
    assert [len(task) for task in together(work)] == [1] * 13


def damaged(folder: Path, name: str) -> bytes:
    """A good file of this name, as bytes, with something wrong with it."""
    path = folder / f"whole{name[name.index('.') :].removesuffix('.gz')}"
    write(path, [event(number) for number in range(100)])
    data = path.read_bytes()
    path.unlink()
    if name == "pages.parquet":
        return data[:200] + bytes(200) + data[400:]
    if name == "text.csv":
        return data.replace(b"i7,", b"i\xff,")
    if name == "corrupt.csv.gz":
        return gzip.compress(data)[:60] + b"corrupt" * 20
    if name.endswith(".gz"):
        return gzip.compress(data)[:-100]
    return data[:-100] if name.startswith("truncated") else b"certainly not this"


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("truncated.parquet", "Parquet magic bytes not found"),
        ("pages.parquet", ""),
        ("other.parquet", "Parquet magic bytes not found"),
        ("truncated.csv.gz", "Truncated compressed stream"),
        ("corrupt.csv.gz", "zlib inflate failed"),
        ("truncated.jsonl.gz", "Truncated compressed stream"),
        ("other.jsonl", "no line of it is a JSON object"),
        ("other.csv.gz", "Truncated compressed stream"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_record(tmp_path: Path, name: str, detail: str) -> None:
    (tmp_path / name).write_bytes(damaged(tmp_path, name))
    with pytest.raises(UserError, match=f"{name} cannot be read: .*{detail}"):  # alone it is an error
        opened(tmp_path)
    write(tmp_path / "good.csv", [event(number) for number in range(5)])
    found = rows(opened(tmp_path))
    (record,) = [row for row in found if row["reason"] is not None]
    assert record["reason"] == "unreadable_file"
    assert record["file"] == str(tmp_path / name)
    assert detail in record["detail"] and str(tmp_path) not in record["detail"]
    assert sum(row["reason"] is None for row in found) == 5


def test_files_of_another_schema_or_without_lines_are_one_record_each(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [event(0)])
    write(tmp_path / "b.csv", [{"user": 1, "item_id": 2, "timestamp": 3}])
    write(tmp_path / "c.parquet", [event(0) | {"user_id": [1]}])
    write(tmp_path / "d.parquet", [event(0) | {"timestamp": {"a": 1}}])
    write(tmp_path / "e.csv", [event(0) | {"user_id": 0.5}])
    for name in ("f.csv", "g.parquet", "h.jsonl"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "i.csv.gz").write_bytes(gzip.compress(b""))
    found = [row for row in rows(opened(tmp_path, max_quarantined_share=1)) if row["reason"] is not None]
    assert [Path(row["file"]).name[0] for row in found] == list("bcdefghi")
    assert [row["reason"] for row in found] == ["other_schema"] * 4 + ["empty_file"] * 4
    assert [row["row"] for row in found] == [number * ROWS_PER_FILE for number in range(1, 9)]
    assert found[0]["detail"].startswith("has no column 'user_id'")
    assert "holds '0.5' as an id" in found[3]["detail"]


def test_a_file_that_vanishes_or_breaks_later_keeps_the_rows_before(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.csv", [event(0), event(1)])
    found = opened(tmp_path)
    (tmp_path / "b.csv").unlink()
    (tmp_path / "c.csv").write_text("user,item_id,timestamp\n1,2,3\n")
    table = rows(found)
    assert [row["reason"] for row in table] == [None, None, "missing_file", "unreadable_file"]
    assert [row["file"] for row in table[2:]] == [str(tmp_path / "b.csv"), str(tmp_path / "c.csv")]


def test_text_that_is_not_utf8_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_bytes(damaged(tmp_path, "text.csv"))
    found = [row for row in rows(opened(tmp_path)) if row["reason"] is not None]
    assert [(row["reason"], row["row"]) for row in found] == [("invalid_text", 7)]


def test_a_store_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.csv", [event(0)])

    def fail(*_: object) -> None:
        raise OSError("When reading information for key 'a.csv': AWS Error UNKNOWN (HTTP status 500) during HeadObject")

    monkeypatch.setattr(files, "head_bytes", fail)
    with pytest.raises(OSError, match="HTTP status 500"):
        opened(tmp_path)


def test_many_files_are_looked_at_by_tasks(ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray_userrep.logs import scan as module

    for number in range(5):
        write(tmp_path / f"{number}.csv", [event(number)])
    alone = opened(tmp_path).work
    monkeypatch.setattr(module, "_ON_DRIVER", 2)
    monkeypatch.setattr(module, "_FILES_PER_TASK", 2)
    assert opened(tmp_path).work == alone
    write(tmp_path / "x.csv", [event(0) | {"user_id": 10**20}])
    with pytest.raises(UserError, match=r"x\.csv") as caught:
        opened(tmp_path)
    assert type(caught.value) is UserError


def test_a_log_without_times_is_told_of_the_order_of_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", [{"user_id": 1, "item_id": 2}])
    with pytest.raises(UserError, match=r"no column 'timestamp' .* a log without times is read with logs\.order row"):
        opened(tmp_path)


def test_rows_are_taken_as_they_stand_whatever_their_times(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", [{"user_id": 1, "item_id": f"b{n}", "timestamp": "never"} for n in range(3)])
    write(
        tmp_path / "a" / "z.csv",
        [{"user_id": 1, "item_id": f"a{n}"} for n in range(3)] + [{"user_id": "", "item_id": 9}],
    )
    found = opened(tmp_path, order="row")
    assert found.order == "row" and opened_types(found) == ("int64", "string")
    good = sorted((row for row in rows(found) if row["reason"] is None), key=lambda row: row["timestamp"])
    assert [row["item_id"] for row in good] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [row["row"] for row in good] == sorted(row["row"] for row in good)
    (bad,) = (row for row in rows(found) if row["reason"] is not None)
    assert (bad["reason"], bad["timestamp"]) == ("missing_user", None)


def opened_types(found: Scan) -> tuple[str, str]:
    return str(found.mapping.user_type), str(found.mapping.item_type)


@pytest.mark.parametrize(
    "asked",
    [{"columns": {"timestamp": "t"}}, {"timestamp_format": "%Y"}, {"from_date": "2024-01-01"}],
)
def test_what_is_about_times_does_not_go_with_the_order_of_rows(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"logs\.\w+.* is about times, which logs\.order row does not read"):
        LogsConfig(order="row", **asked)


@pytest.mark.parametrize("damage", ["content", "header"])
def test_a_damaged_member_of_an_archive_costs_itself(tmp_path: Path, damage: str) -> None:
    text = "user_id,item_id,timestamp\n" + "".join(f"{n % 3},i{n},{NOON + n}\n" for n in range(200))
    with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, text)
        header = archive.getinfo("b.csv").header_offset
    data = bytearray((tmp_path / "log.zip").read_bytes())
    place = header if damage == "header" else header + 100
    data[place] ^= 0x40
    (tmp_path / "log.zip").write_bytes(bytes(data))
    chosen = LogsConfig(uri=str(tmp_path))
    found = rows(scan(chosen, unknown_files(chosen, {}), LAYOUT))
    assert [row["item_id"] for row in found if row["reason"] is None] == [f"i{n}" for n in range(200)]
    assert [row["reason"] for row in found if row["reason"] is not None] == ["unreadable_file"]
