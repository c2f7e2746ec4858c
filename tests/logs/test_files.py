"""Raw files block by block, against the same rows written by the standard library."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs import files
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.files import CsvFormat, column_names, parts, read_blocks
from ray_userrep.storage import FileEntry

PLAIN = CsvFormat()


def entry(path: Path) -> FileEntry:
    return FileEntry(str(path), path.stat().st_size)


def rows(path: Path, columns: list[str], csv: CsvFormat = PLAIN) -> list[dict]:
    found = [block for part in parts(entry(path)) for block in read_blocks(part, csv, dict.fromkeys(columns), [])]
    return pa.concat_tables(found).to_pylist() if found else []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_csv_reads_text_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.csv{suffix}"
    text = '\ufeffid,name,other\n007,"a ""quoted"", two\nlines",1\n8,,NULL\nNA,£,3\n'
    path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    assert column_names(entry(path), PLAIN) == ["id", "name", "other"]
    assert rows(path, ["other", "id", "name"]) == [
        {"other": "1", "id": "007", "name": 'a "quoted", two\nlines'},
        {"other": None, "id": "8", "name": None},
        {"other": "3", "id": "NA", "name": "£"},
    ]


def test_a_large_file_goes_on_where_the_answer_of_a_store_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "log.parquet", []
    pq.write_table(pa.table({"id": range(100)}), path)
    monkeypatch.setattr(files, "_BATCH_ROWS", 30)
    whole = files._parquet

    class Broken:
        schema_arrow = pa.schema({"id": pa.int64()})

        def iter_batches(self, *_: object) -> Iterator[pa.RecordBatch]:
            with whole(entry(path)) as parquet:
                yield from islice(parquet.iter_batches(30), 2)
            raise OSError("AWS Error INTERNAL_FAILURE")

    @contextmanager
    def breaking(file: FileEntry) -> Iterator[object]:
        opened.append(file)
        with whole(file) as parquet:
            yield parquet if len(opened) % 3 == 0 else Broken()

    monkeypatch.setattr(files, "_parquet", breaking)
    (part,) = [files.FilePart(entry(path), 0, None, 0)]
    found = pa.concat_tables(files._batches(part, {"id": None}))
    assert found["id"].to_pylist() == list(range(100)) and len(opened) == 3


def test_text_that_is_not_utf8_is_latin1(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    path.write_bytes("id\tname\n1\tcafé\n2\tplain\n".encode("latin-1") + "3\tcafé\n".encode())
    assert [row["name"] for row in rows(path, ["name"])] == ["café", "plain", "café"]


def test_malformed_lines_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n3\n4,5,6\n7,8\n")
    broken: list[str] = []
    (block,) = read_blocks(parts(entry(path))[0], PLAIN, {"a": None}, broken)
    assert block["a"].to_pylist() == ["1", "7"]
    assert broken == ["line 3: 3", "line 4: 4,5,6"]


def test_json_types_hold_for_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        {"id": 2**53 + 1, "t": "2020-01-01", "rating": 4, "extra": {"x": [1]}, "gone": None},
        {"id": None, "t": "no"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"id": 1, "t": "x", "rating": 4.5}]))
    found = read_blocks(parts(entry(path))[0], PLAIN, {"id": None, "t": None, "rating": pa.float64(), "gone": None}, [])
    table = pa.concat_tables(found)
    assert table["id"].to_pylist() == [2**53 + 1, None, 1]
    assert table["t"].to_pylist() == ["2020-01-01", "no", "x"]
    assert table["rating"].to_pylist() == [4.0, None, 4.5]
    assert table["gone"].to_pylist() == [None, None, None]


def test_json_of_changing_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    many = json.dumps({"id": 1, "pad": "x" * 1000}) + "\n"
    path.write_text(many * 2000 + json.dumps({"id": "one"}) + "\n")
    with pytest.raises(UserError, match=r"log\.jsonl cannot be read: .*id.*number to string"):
        rows(path, ["id"])


def test_parquet_is_split_at_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"a": range(1000)}), path, row_group_size=100)
    monkeypatch.setattr(files, "_PART_ROWS", 250)
    found = parts(entry(path))
    assert [part.first_row for part in found] == [0, 300, 600, 900]
    for part in found:
        values = pa.concat_tables(read_blocks(part, PLAIN, {"a": None}, []))["a"].to_pylist()
        assert values == list(range(part.first_row, min(part.first_row + 300, 1000)))


def test_broken_json_lines_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = [json.dumps({"id": number, "pad": "x" * 100}) for number in range(30_000)]
    lines = [*good[:7], '{"id": 7, "pad', "[]", *good[7:20_000], "", "oops", *good[20_000:]]
    path.write_text("\n".join(lines))
    broken: list[str] = []
    found = list(read_blocks(parts(entry(path))[0], PLAIN, {"id": None}, broken))
    assert pa.concat_tables(found)["id"].to_pylist() == list(range(30_000))
    assert broken == ['{"id": 7, "pad', "[]", "oops"]
    assert len(found) < 100


def test_a_json_file_of_broken_lines_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1}\n' + "oops\n" * 1001)
    with pytest.raises(DamagedFile, match=r"log\.jsonl cannot be read: more than 1,000 of its lines"):
        rows(path, ["id"])


@pytest.mark.parametrize("name", ["x.parquet", "x.csv.gz", "x.jsonl", "x.jsonl.gz"])
def test_what_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"certainly not this\n")
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        column_names(entry(path), PLAIN)


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        rows(path, ["a"])


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.csv.gz"])
def test_empty_files_have_no_columns_and_no_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    assert column_names(entry(path), PLAIN) == []
    assert rows(path, []) == []


@pytest.mark.parametrize(("name", "between"), [("x.csv", ","), ("x.tsv", "\t")])
def test_a_quote_that_begins_a_field_swallows_no_rows(tmp_path: Path, name: str, between: str) -> None:
    path = tmp_path / name
    titles = ['"Weird Al', "plain", "6 feet"] * 50
    path.write_text("\n".join(["id\ttitle\tt", *(f"{n}\t{title}\t{n}" for n, title in enumerate(titles))]))
    path.write_text(path.read_text().replace("\t", between))
    broken: list[str] = []
    found = list(read_blocks(parts(entry(path))[0], PLAIN, {"id": None, "title": None}, broken))
    kept = [n for n, title in enumerate(titles) if name == "x.tsv" or title != '"Weird Al']
    assert [int(n) for table in found for n in table["id"].to_pylist()] == kept
    assert [title for table in found for title in table["title"].to_pylist()] == [titles[n] for n in kept]
    assert len(broken) == len(titles) - len(kept)


def test_a_line_of_too_few_columns_that_is_not_utf8_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,b\n1,2\ncaf\xe9\n3,4\n5\n")
    broken: list[str] = []
    (block,) = read_blocks(parts(entry(path))[0], PLAIN, {"a": None}, broken)
    assert block["a"].to_pylist() == ["1", "3"]
    assert broken[0] == "line 3: caf\ufffd" and broken[1].endswith("5") and len(broken) == 2
