"""Every row ends in exactly one file, its user's bucket or the quarantine, and too much damage stops the job."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.errors import UserError
from ray_userrep.logs.numbers import Unread, joined, told
from ray_userrep.logs.reading import ROWS_PER_FILE
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare.partition import partition, refuse_damage, split_rejected, tell_future
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.staging import read_slices
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

DAY = 86_400_000_000


def batch(reasons):
    count = len(reasons)
    return pa.table(
        {
            "user_id": pa.array([f"user {row % 5}" for row in range(count)]),
            "item_id": pa.array([row % 3 for row in range(count)]),
            "timestamp": pa.array([row * DAY // 4 for row in range(count)], TIMESTAMP),
            "row": pa.array(range(count), pa.int64()),
            "price": pa.array([row / 2 for row in range(count)]),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def report_of(table, uri, num_buckets=4):
    (report,) = partition(table, str(uri), num_buckets, timed=True)["report"].to_pylist()
    return json.loads(report)


def test_good_rows_go_whole_into_the_slice_of_their_bucket(tmp_path):
    rows = batch([None] * 20)
    report = report_of(rows, tmp_path)
    found = []
    for bucket, count in enumerate(report["slice_rows"]):
        for part in read_slices([report["file"]], bucket):
            assert set(bucket_of(hash_ids(part["user_id"]), 4)) == {bucket}
            assert part.num_rows == count
            found += part.to_pylist()
    assert sorted(found, key=lambda row: row["row"]) == rows.drop_columns(["reason"]).to_pylist()
    assert report["rows"] == sum(report["slice_rows"]) == 20
    assert report["quarantine"] is None and report["reasons"] == {}


def test_days_are_counted_without_rejected_rows(tmp_path):
    report = report_of(batch([None, None, None, None, "missing_user", None]), tmp_path)
    assert report["days"] == {"1970-01-01": 4, "1970-01-02": 1}


def test_rejected_rows_are_kept_as_they_are_with_their_reasons(tmp_path):
    rows = batch([None, "missing_user", "bad_timestamp", "missing_user"])
    report = report_of(rows, tmp_path)
    assert storage.read_parquet(report["quarantine"]).to_pylist() == rows.slice(1).to_pylist()
    assert report["reasons"] == {"missing_user": 2, "bad_timestamp": 1}
    assert report["rows"] == 1


def test_a_batch_of_rejected_rows_writes_nothing_else(tmp_path):
    report = report_of(batch(["missing_item"] * 3), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / report["quarantine"]]
    assert report["file"] is None


CONFIG = CorpusConfig(num_buckets=2)
START = 1_700_000_000


def event(number: int, **other: Any) -> dict[str, Any]:
    return {"user_id": number % 7, "item_id": f"i{number % 11}", "timestamp": START + number, **other}


def csv(rows: list[dict[str, Any]]) -> bytes:
    return (
        "\n".join(["user_id,item_id,timestamp", *(",".join(map(str, row.values())) for row in rows)]) + "\n"
    ).encode()


def quarantine(uri: str, manifest: Manifest) -> list[dict[str, Any]]:
    return pa.concat_tables([storage.read_parquet(storage.join(uri, f)) for f in manifest.quarantine]).to_pylist()


def write_bad_log(folder: Path) -> dict[str, dict[int, str]]:
    """One file a kind of damage beside good ones; the reasons that are due, by file and row."""
    good = csv([event(number) for number in range(40)])
    pq.write_table(pa.Table.from_pylist([event(n) for n in range(40)]), folder / "truncated.parquet")
    truncated = (folder / "truncated.parquet").read_bytes()[:-50]
    times = [None, -5, 10**12, "soon", 4_102_444_800, START]
    files = {
        "corrupt.csv.gz": gzip.compress(good)[:100],
        "empty.parquet": b"",
        "fractions.csv": csv([event(0, user_id=1.5), event(1), event(2, user_id="3.0"), event(3, user_id="4.25")]),
        "lines.csv": good + b"1,2\n1,2,3,4\n",
        "schema.csv": good.replace(b"user_id", b"customer"),
        "text.csv": good.replace(b",i3,", b",i\xe9,"),
        "times.csv": csv([event(n, timestamp="" if time is None else time) for n, time in enumerate(times)]),
        "truncated.parquet": truncated,
        "vanished.csv": good,
        **{f"good{number}.csv": good for number in range(3)},
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    bad_times = ["missing_timestamp", "negative_timestamp", "bad_timestamp", "bad_timestamp", "absurd_timestamp"]
    return {
        "corrupt.csv.gz": {0: "unreadable_file"},
        "empty.parquet": {0: "empty_file"},
        "fractions.csv": {0: "inexact_id", 3: "inexact_id"},
        "lines.csv": {40: "malformed_line", 41: "malformed_line"},
        "schema.csv": {0: "other_schema"},
        "text.csv": {row: "invalid_text" for row in range(3, 40, 11)},
        "times.csv": dict(enumerate(bad_times)),
        "truncated.parquet": {0: "unreadable_file"},
        "vanished.csv": {0: "missing_file"},
    }


def test_every_kind_of_damage_is_told_and_counted(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    expected = write_bad_log(tmp_path / "log")
    logs = open_logs(LogsConfig(uri=str(tmp_path / "log"), max_quarantined_share=0.4))
    (tmp_path / "log" / "vanished.csv").unlink()
    manifest = prepare(logs, CONFIG, str(tmp_path / "corpus"))
    found = quarantine(str(tmp_path / "corpus"), manifest)
    told: dict[str, dict[int, str]] = {}
    for row in found:
        told.setdefault(Path(row["file"]).name, {})[row["row"] % ROWS_PER_FILE] = row["reason"]
    assert told == expected
    reasons = [reason for rows in expected.values() for reason in rows.values()]
    assert manifest.quarantined == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    assert manifest.num_interactions == 3 * 40 + 2 + 40 + (40 - 4) + 1
    details = {row["detail"] for row in found}
    assert {"1.5", "4.25", "-5", "soon", "1000000000000", "line 42: 1,2"} <= details


def test_too_much_damage_stops_with_the_count_and_examples(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for number in range(9):
        (tmp_path / "log" / f"{number}.csv").write_bytes(csv([event(n) for n in range(10)]))
    (tmp_path / "log" / "x.csv").write_bytes(csv([event(0, timestamp=-5), *[event(n) for n in range(9)]]))
    (tmp_path / "log" / "y.csv.gz").write_bytes(gzip.compress(csv([event(0)]))[:-9])
    strict = open_logs(LogsConfig(uri=str(tmp_path / "log")))
    with pytest.raises(UserError) as caught:
        prepare(strict, CONFIG, str(tmp_path / "corpus"))
    assert str(caught.value) == (
        f"{tmp_path}/log: 1.0% of the rows are damaged and 9.1% of the files cannot be read, more than "
        "logs.max_quarantined_share 5.0% (1 negative_timestamp, 1 unreadable_file); the first: "
        f"{tmp_path}/log/x.csv row 0: negative_timestamp (-5); "
        f"{tmp_path}/log/y.csv.gz row 0: unreadable_file (cannot be read: Truncated compressed stream)"
    )
    assert [path for path in (tmp_path / "corpus").rglob("*") if path.is_file()] == []
    lax = open_logs(LogsConfig(uri=str(tmp_path / "log"), max_quarantined_share=0.1))
    assert lax.fingerprint == strict.fingerprint
    assert prepare(lax, CONFIG, str(tmp_path / "corpus")).num_interactions == 99


def test_rows_that_a_log_rightly_holds_are_no_damage() -> None:
    logs = Logs("log", "test", "f", None, None, None, files=[FileEntry("log", 1)], max_quarantined_share=0.0)  # type: ignore[arg-type]
    refuse_damage(logs, 1, {"missing_user": 100, "cancellation": 7, "empty_file": 2}, [])


def test_a_batch_is_split_whole() -> None:
    batch = pa.table({"row": [0, 1, 2], "reason": [None, "bad", None], "file": [None, "f", None]})
    good, rejected = split_rejected(batch)
    assert good.to_pydict() == {"row": [0, 2]}
    assert rejected.to_pylist() == [{"row": 1, "reason": "bad", "file": "f"}]


def test_many_small_objects_are_one_log(ray_session: None, s3_uri: str, tmp_path: Path) -> None:
    rows = [event(number) for number in range(600)]
    days = ["2023-11-14", "2023-11-15"]
    for number in range(60):
        folder = tmp_path / "log" / f"date={days[number // 30]}" / f"domain=d{number // 10 % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        own = rows[number * 10 : number * 10 + 10]
        if number % 2:
            pq.write_table(pa.Table.from_pylist(own), folder / f"{number:02}.parquet")
        else:
            (folder / f"{number:02}.csv.gz").write_bytes(gzip.compress(csv(own)))
    storage.upload_dir(tmp_path / "log", f"{s3_uri}/log")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "one.parquet")
    many = open_logs(LogsConfig(uri=f"{s3_uri}/log"))
    assert len(many.files) == 60
    manifest = prepare(many, CONFIG, f"{s3_uri}/corpus")
    one = prepare(open_logs(LogsConfig(uri=str(tmp_path / "one.parquet"))), CONFIG, str(tmp_path / "corpus"))
    assert manifest.content_fingerprint == one.content_fingerprint
    assert manifest.side_columns == ["domain"] and manifest.quarantined == {}


def test_numbers_that_cannot_be_read_are_counted_and_the_first_are_shown(tmp_path):
    rows = batch(["missing_user", *[None] * 9])
    odd = ["none of this", "12,50", None, "x", "y", "z", *[None] * 4]
    rows = rows.append_column("unread price", pa.array(odd)).append_column("file", pa.array(["f.csv"] * 10))
    report = report_of(rows, tmp_path)
    first = [[1, "f.csv row 1: '12,50'"], [3, "f.csv row 3: 'x'"], [4, "f.csv row 4: 'y'"]]
    assert report["unread"] == {"price": {"count": 4, "first": first}}
    written = [table.column_names for bucket in range(4) for table in read_slices([report["file"]], bucket)]
    assert written and all("unread price" not in names for names in written)
    lost = Unread(count=4, examples=[told for _, told in first])
    assert joined([{"price": lost}, {"price": lost}])["price"] == Unread(count=8, examples=lost.examples)
    assert "price: 4 values cannot be read as numbers, as f.csv row 1: '12,50'; " in told("price", lost)
    assert "logs.layout.decimal comma" in told("price", lost)


def test_days_after_today_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell_future({"2024-01-01": 5, "2024-01-02": 3, "2031-05-01": 2, "2030-01-01": 1}, "2024-01-01")
    assert (
        "6 interactions lie in the future, the last on 2031-05-01: logs.to_date 2024-01-01" in capsys.readouterr().out
    )
    tell_future({"2024-01-01": 5}, "2024-01-01")
    assert not capsys.readouterr().out
