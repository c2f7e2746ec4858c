"""Opening logs: the reader found, the counts, and one clear line for everything a user can get wrong."""

import csv
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs import readers
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.reading import ROWS_PER_FILE
from ray_userrep.logs.source import Logs, open_logs, reader_names, unknown_files
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

pytestmark = pytest.mark.usefixtures("ray_session")

ROWS = [{"user_id": f"u{n % 3}", "item_id": n % 5, "timestamp": 1_600_000_000 + n} for n in range(30)]


def all_rows(logs: Logs) -> pa.Table:
    return pa.concat_tables(ray.get(dataset_of(logs.interactions).to_arrow_refs())).sort_by("row")


def write_csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as sink:
        writer = csv.DictWriter(sink, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_readers_are_modules() -> None:
    assert reader_names() == sorted(path.stem for path in Path(readers.__path__[0]).glob("[a-z]*.py"))
    assert {"amazon_2023", "delta", "movielens", "online_retail", "s3rec", "tabular"} <= set(reader_names())


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.system)])
def test_a_log_of_many_files_in_all_formats(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    local = tmp_path / "log"
    write_csv(local / "day=1" / "a.csv", ROWS[:10])
    (local / "day=2").mkdir()
    (local / "day=2" / "b.jsonl").write_text("".join(json.dumps({**row, "rating": 3}) + "\n" for row in ROWS[10:20]))
    pq.write_table(pa.Table.from_pylist(ROWS[20:]), local / "day=2" / "c.parquet")
    (local / "README.txt").write_text("not a table")
    (local / "_tmp.csv").write_text("not yet a table")
    write_csv(
        local / "items.csv", [{"item_id": 4, "text": "four", "brand": "x"}, {"item_id": 9, "text": "nine", "brand": ""}]
    )
    write_csv(local / "users.csv", [{"user_id": "u0", "country": "NA"}])
    uri = str(local)
    if where == "s3":
        uri = request.getfixturevalue("s3_uri") + "/raw/log"
        storage.upload_dir(local, uri)
    logs = open_logs(LogsConfig(uri=uri))
    assert logs.reader == "tabular" and logs.uri == uri
    table = all_rows(logs)
    canonical = ["user_id", "item_id", "timestamp", "row", "rating", "unread rating"]
    assert table.column_names == [*canonical, "reason", "file", "detail"]
    assert table["row"].to_pylist() == [n // 10 * ROWS_PER_FILE + n % 10 for n in range(30)]
    assert table["user_id"].to_pylist() == [row["user_id"] for row in ROWS]
    assert table["item_id"].to_pylist() == [row["item_id"] for row in ROWS]
    assert table["timestamp"].cast(pa.int64()).to_pylist() == [row["timestamp"] * 10**6 for row in ROWS]
    assert table["rating"].to_pylist() == [None] * 10 + [3.0] * 10 + [None] * 10
    assert table["reason"].null_count == 30
    assert logs.items is not None and logs.items.to_pylist()[0] == {"item_id": 4, "text": "four", "brand": "x"}
    assert logs.users is not None and logs.users.to_pylist() == [{"user_id": "u0", "country": "NA"}]


def test_columns_are_mapped_and_malformed_lines_counted(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,when,kind\nann,1,01.02.2020,buy\nbroken\nbob,2,02.02.2020,view\n")
    columns = {"user_id": "who", "item_id": "what", "timestamp": "when", "event": "kind"}
    table = all_rows(open_logs(LogsConfig(uri=str(tmp_path), columns=columns, timestamp_format="%d.%m.%Y")))
    assert table["reason"].to_pylist() == [None, None, "malformed_line"]
    assert table["row"].to_pylist() == [0, 1, 2]
    assert table["event"].to_pylist() == ["buy", "view", None]
    assert str(table["timestamp"][0].as_py()) == "2020-02-01 00:00:00+00:00"


def test_every_block_has_the_same_schema(tmp_path: Path) -> None:
    for number in range(3):
        write_csv(tmp_path / f"{number}.csv", [{**row, f"{'rating' if number == 1 else 'x'}": 1} for row in ROWS])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("user_id,item_id,timestamp\n")
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    schemas = {str(block.schema) for block in ray.get(dataset_of(logs.interactions).to_arrow_refs()) if block.num_rows}
    assert len(schemas) == 1
    assert dataset_of(logs.interactions).count() == 90 + 1  # the file without a line is told of


def test_the_fingerprint_follows_files_and_config_but_not_the_place(tmp_path: Path) -> None:
    write_csv(tmp_path / "a" / "log.csv", ROWS)
    for folder in ("b", "c", "d"):
        shutil.copytree(tmp_path / "a", tmp_path / folder)  # with the times of writing
    write_csv(tmp_path / "c" / "more.csv", ROWS)
    os.utime(tmp_path / "d" / "log.csv", ns=(0, 1))
    one, same, more, again = (open_logs(LogsConfig(uri=str(tmp_path / name))).fingerprint for name in "abcd")
    assert one == same and len({one, more, again}) == 3
    assert open_logs(LogsConfig(uri=str(tmp_path / "a"), reader="tabular")).fingerprint == one
    meant = LogsConfig(uri=str(tmp_path / "a"), timestamp_unit="ms", timestamp_origin="1970-01-01")
    assert open_logs(meant).fingerprint != one


def test_an_error_in_a_task_keeps_its_clear_line(tmp_path: Path) -> None:
    rows = [{"user_id": n, "item_id": 1, "timestamp": 10**9 + n} for n in range(100_000)]
    write_csv(tmp_path / "log.csv", [*rows, {"user_id": "abc", "item_id": 1, "timestamp": 1}])
    logs = open_logs(LogsConfig(uri=str(tmp_path)))
    with pytest.raises(UserError) as caught:
        dataset_of(logs.interactions).count()
    line = str(getattr(caught.value, "cause", caught.value)).splitlines()[0]
    assert line.startswith("column 'user_id' has ids of mixed type: whole numbers so far, 'abc' in ")


def bad(folder: Path, content: str | None, name: str = "log.csv") -> str:
    if content is not None:
        (folder / name).write_text(content)
    return str(folder)


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (None, {}, r"the log is empty: no files in"),
        ("", {}, r"the log is empty: no rows in .*log\.csv"),
        ("user_id,item_id,timestamp\n", {}, r"the log is empty: no rows in .*log\.csv"),
        (
            "u,item_id,timestamp\n1,2,3\n",
            {},
            r"log\.csv has no column 'user_id' for user_id; its columns are u, item_id",
        ),
        (
            "user_id,item_id,timestamp\n1,2,soon\n1,3,\n",
            {},
            r"no timestamp can be read: column 'timestamp' .*'soon'.*format",
        ),
        ("user_id,item_id,timestamp\n1,2,1600000000000\n", {}, r"no timestamp .*'1600000000000'.*timestamp_unit ms"),
        ("user_id,item_id,timestamp\n1.5,2,3\n", {}, r"column 'user_id' of .*log\.csv holds '1\.5' as an id"),
        (
            "user_id,item_id,timestamp\n1,2,3\n",
            {"columns": {"rating": "stars"}},
            r"maps rating to 'stars', which no file",
        ),
        (
            "user_id,item_id,timestamp\n1,2,3\n",
            {"columns": {"user": "x"}},
            r"logs\.columns: unknown 'user'; it takes user_id",
        ),
        (
            "user_id,item_id,timestamp\n1,2,3\n",
            {"reader": "csv"},
            r"unknown 'csv'; it takes amazon_2014, .*tabular",
        ),
        ("user_id,item_id,timestamp\n1,2,3\n", {"reader": "movielens"}, r"no MovieLens ratings: none of u\.data"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, content: str | None, config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_logs(LogsConfig(uri=bad(tmp_path, content), **config))
    assert "\n" not in str(caught.value)


def test_files_that_no_reader_knows(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no reader knows the files in .*notes\.xlsx.*movielens, nextitnet, online_retail, .*tabular"
    ):
        open_logs(LogsConfig(uri=bad(tmp_path, "x", "notes.xlsx")))


def test_a_pattern_names_files_and_folders(tmp_path: Path) -> None:
    for place in ("2024-01/a.csv", "2024-02/deep/b.csv", "2023-12/c.csv", "[1] x.csv"):
        write_csv(tmp_path / place, ROWS)

    def names(pattern: str) -> list[str]:
        logs = open_logs(LogsConfig(uri=f"{tmp_path}/{pattern}"))
        return [file.uri.removeprefix(f"{tmp_path}/") for file in logs.files]

    assert names("2024-*") == ["2024-01/a.csv", "2024-02/deep/b.csv"]
    assert names("*/?.csv") == ["2023-12/c.csv", "2024-01/a.csv"]
    assert names("[1] x.csv") == ["[1] x.csv"]  # a file of this name is no pattern
    with pytest.raises(UserError, match=r"no file in .* matches 2025-\*"):
        names("2025-*")


def test_a_layout_is_for_plain_tables(tmp_path: Path) -> None:
    config = LogsConfig(uri=bad(tmp_path, "x"), reader="movielens", layout={"separator": ";"})
    with pytest.raises(UserError, match=r"logs\.layout is for plain tables, and logs\.reader movielens knows its own"):
        open_logs(config)


def test_a_missing_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is nothing here"):
        open_logs(LogsConfig(uri=str(tmp_path / "nowhere")))


def test_a_list_as_id(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": [[1]], "item_id": [1], "timestamp": [1]}), tmp_path / "log.parquet")
    with pytest.raises(UserError, match=r"column 'user_id' of .*log\.parquet is list"):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_a_file_that_was_written_again_at_the_same_size_is_not_what_is_known(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("user_id,item_id,timestamp\n1,2,3\n")
    config = LogsConfig(uri=str(tmp_path))
    known = {file.uri: file for file in list_files(str(tmp_path))}
    assert unknown_files(config, known) == []
    (tmp_path / "c.csv").write_text("user_id,item_id,timestamp\n")
    assert [file.uri for file in unknown_files(config, known)] == [str(tmp_path / "c.csv")]
    written = (tmp_path / "b.csv").stat().st_mtime_ns
    (tmp_path / "b.csv").write_text("user_id,item_id,timestamp\n1,2,4\n")
    os.utime(tmp_path / "b.csv", ns=(written, written + 1))
    with pytest.raises(UserError, match=r"b\.csv was written again since it was prepared: only new files"):
        unknown_files(config, known)
