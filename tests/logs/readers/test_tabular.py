"""Any canonical table comes back as it was, from Parquet, CSV and JSON lines, to the last digit."""

import gzip
import json
import lzma
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep.errors import UserError
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


ROWS = [(f"u{n % 3}", f"i{n}", 1_700_000_000 + n) for n in range(9)]
HEADER = ("user_id", "item_id", "timestamp")


def text(between: str = ",", header: tuple[str, ...] = HEADER, end: str = "\n", price: str = "") -> str:
    more = [price] if price else []
    lines = [[*header, *(["price"] if price and header else [])]] if header else []
    return "".join(between.join(map(str, line)) + end for line in [*lines, *([*row, *more] for row in ROWS)])


def read_rows(path: Path, **fields) -> list[tuple]:
    """User, item, seconds and price of the rows of a file, none of which may be rejected."""
    config = LogsConfig(uri=str(path), **fields)
    files = list_files(str(path))
    found = scan(config, files, tabular.layout(config, files[0]))
    table = pa.concat_tables([rows for rows, _ in found.tables([])])
    assert table["reason"].null_count == table.num_rows
    names = ["user_id", "item_id", *(["price"] if "price" in table.column_names else [])]
    seconds = [time.timestamp() for time in table["timestamp"].to_pylist()]
    return [(*row.values(), int(time)) for row, time in zip(table.select(names).to_pylist(), seconds, strict=True)]


BY_PLACE = {name: str(place) for place, name in enumerate(HEADER)}
OBJECTS = [dict(zip(HEADER, row, strict=True)) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("log.csv", text(";").encode("utf-8-sig"), {}),
        ("log.dat", text("\t").encode(), {}),
        ("log.csv", text("^").encode(), {"layout": {"separator": "^"}}),
        ("log.csv", text(", ", ("User_ID", " Item_ID ", "TimeStamp")).encode(), {}),
        ("log.csv", text(header=()).encode(), {"columns": BY_PLACE}),
        ("log.txt", text("::", ()).encode(), {"columns": BY_PLACE}),
        ("log.csv", (f"{len(ROWS)}\n" + text(header=())).encode(), {"columns": BY_PLACE, "layout": {"skip_lines": 1}}),
        ("log.csv", f"sep=|\r\n{text('|')}".encode("utf-16"), {}),
        ("log.csv.xz", lzma.compress(text().encode()), {}),
        ("log.json", json.dumps(OBJECTS, indent=1).encode(), {}),
        ("log.json.gzip", gzip.compress("".join(f"{one!r}\n" for one in OBJECTS).encode(), mtime=0), {}),
    ],
)
def test_layouts_of_text(tmp_path: Path, name: str, content: bytes, fields: dict) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_rows(tmp_path / name, **fields) == ROWS


def test_parquet_with_its_codec_in_the_name_and_other_letters(tmp_path: Path) -> None:
    table = pa.table(dict(zip(("User_ID", "item_id ", "timestamp"), zip(*ROWS, strict=True), strict=True)))
    pq.write_table(table, tmp_path / "df.parquet.gzip", compression="gzip")
    assert read_rows(tmp_path / "df.parquet.gzip") == ROWS


def test_prices_with_a_decimal_comma(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text(text(";", price="12,50"))
    assert read_rows(tmp_path / "log.csv") == [(user, item, 12.5, time) for user, item, time in ROWS]
    told = capsys.readouterr().out
    assert "log.csv: a comma is the decimal sign of 'price'" in told
    assert "log.csv: its columns are separated by semicolons" in told


def test_ids_and_header_in_latin_1(tmp_path: Path) -> None:
    cafes = [(f"é{user}", item, time) for user, item, time in ROWS]
    lines = "".join(",".join(map(str, row)) + "\n" for row in [("é_id", "item_id", "timestamp"), *cafes])
    (tmp_path / "log.csv").write_bytes(lines.encode("latin-1"))
    fields = {"columns": {"user_id": "É_id"}, "layout": {"encoding": "latin-1"}}
    assert read_rows(tmp_path / "log.csv", **fields) == cafes
    with pytest.raises(UserError, match=r"log\.csv has no column 'user_id' .* are é_id, item_id, timestamp"):
        read_rows(tmp_path / "log.csv")
    with pytest.raises(UserError, match=r"log\.csv is in another encoding: see logs\.layout\.encoding"):
        read_rows(tmp_path / "log.csv", layout={"encoding": "utf-16"})


@pytest.mark.parametrize(("name", "between"), [("ml-1m.txt", " "), ("Beauty.txt", "\t"), ("pairs.csv", ",")])
def test_pairs_are_users_and_items_in_order(tmp_path: Path, name: str, between: str) -> None:
    pairs = [(n % 3 + 1, 9 - n) for n in range(9)]
    (tmp_path / name).write_text("".join(f"{user}{between}{item}\n" for user, item in pairs))
    assert read_rows(tmp_path / name) == [(*pair, n) for n, pair in enumerate(pairs)]
    assert tabular.recognise([name]) and not tabular.recognise(["README.txt", "notes.md"])


NESTED = pa.table({"user_id": [1], "item_id": [[1, 2]], "timestamp": [[3, 4]]})
INSIDE = pa.table({"user": [{"user_id": 1}], "item_id": [1], "timestamp": [1_700_000_000]})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "log.csv",
            "1,2,1700000000\n",
            r'it has no header, .* as in {"user_id": "0", "item_id": "1", "timestamp": "2"}',
        ),
        (
            "log.csv",
            gzip.compress(b"a,b", mtime=0),
            r"cannot be read: it is no text, but compressed by gzip: name it \.gz",
        ),
        ("log.csv", "user_id,\0\n", r"cannot be read: it is no text$"),
        ("log.csv", "a,b,view\n", r"where the first line is a row, set logs\.layout\.header false"),
        ("log.csv", text("^"), r"where these are several columns, set logs\.layout\.separator"),
        ("log.csv", "user_id,item_id,timestamp,item_id\n1,2,3,4\n", r"has column 'item_id' more than once"),
        ("log.json", '[{"user_id": 1, "item_id": 2, "times', r"its array of JSON breaks off"),
        (
            "log.json",
            '{"user_id": 1, "items": [{"item_id": 2}]}',
            r"'items' holds lists: one interaction a row is needed",
        ),
        ("log.csv", 'user_id,item_id,timestamp\n1,"[2, 3]","[4, 5]"\n', r"'\[4, 5\]'; one interaction a row is needed"),
        ("log.parquet", NESTED, r"column 'item_id' of .* is list<.*>: one interaction a row is needed"),
        ("log.parquet", INSIDE, r"'user' has a field 'user_id': make it a column of its own"),
    ],
)
def test_other_layouts_are_told_with_the_cure(
    tmp_path: Path, name: str, content: str | bytes | pa.Table, message: str
) -> None:
    if isinstance(content, str | bytes):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        pq.write_table(content, tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / name)


def test_files_beside_a_log_are_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(text())
    (tmp_path / "dataset-metadata.json").write_text(json.dumps({"title": "x", "licenses": [{"name": "CC0"}]}, indent=2))
    with pytest.raises(UserError, match=r"1 of 2 files are not of this log: .*metadata\.json .*--logs .*ratings\.csv"):
        read_rows(tmp_path)


def test_a_file_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "part-00000").write_text(text("|"))
    assert read_rows(tmp_path / "part-00000") == ROWS


def test_items_in_the_encoding_of_their_log(read, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id;item_id;timestamp\n1;café;1700000000\n", "latin-1")
    (tmp_path / "items.csv").write_text("Item_ID;text\ncafé;Kaffee\n", "latin-1")
    logs = read(tmp_path, layout={"encoding": "latin-1"}).logs
    assert logs.items is not None and logs.items.to_pylist() == [{"item_id": "café", "text": "Kaffee"}]


def test_lines_of_a_user_and_its_items_are_told(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1 2 3 4 5\n1 7 8\n")
    with pytest.raises(UserError, match=r"lines of `user item item …` are read by logs\.reader s3rec"):
        read_rows(tmp_path / "train.txt")
