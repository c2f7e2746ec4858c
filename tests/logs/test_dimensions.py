"""One row an id, chosen by count and then by order, whatever the order of the input."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, most_frequent, read_whole
from ray_userrep.logs.files import CsvFormat
from ray_userrep.storage import FileEntry

PAIRS = st.lists(st.tuples(st.sampled_from("abc") | st.none(), st.sampled_from("xyz") | st.none()))


@given(PAIRS, st.randoms())
def test_most_frequent(pairs: list[tuple[str | None, str | None]], random: st.DataObject) -> None:
    counts = Counter((key, value) for key, value in pairs if key is not None and value is not None)
    expected = {}
    for key, value in sorted(counts, key=lambda pair: (-counts[pair], pair[1]), reverse=True):
        expected[key] = value
    random.shuffle(pairs)
    columns = {"k": [key for key, _ in pairs], "v": [value for _, value in pairs]}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    found = most_frequent(table, "k", "v")
    assert found["k"].to_pylist() == sorted(expected)
    assert dict(zip(found["k"].to_pylist(), found["v"].to_pylist(), strict=True)) == expected


def test_keyed_takes_the_first_row_of_each_id() -> None:
    table = pa.table({"text": ["a", "b", "c", "d"], "item_id": ["2", "1", "2", None]})
    found = keyed(table, "item_id", pa.int64(), "items.csv")
    assert found.to_pydict() == {"text": ["a", "b"], "item_id": [2, 1]}


def test_keyed_leaves_out_ids_of_another_type_and_refuses_them_where_all_are(capsys: pytest.CaptureFixture) -> None:
    odd = pa.table({"item_id": ["1", "A1", None, "003", "2.0", "1e1", "NA"]})
    assert keyed(odd, "item_id", pa.int64(), "items.csv")["item_id"].to_pylist() == [1, 2]
    told = "items.csv: 3 of 7 values of item_id are not whole numbers, as all ids of the log are: 'A1', '003', '1e1'"
    assert told in capsys.readouterr().out
    with pytest.raises(UserError, match=r"2 of 3 values of item_id are not whole .* '001', '002'; write both alike"):
        keyed(pa.table({"item_id": ["001", "002", None]}), "item_id", pa.int64(), "items.csv")


def test_lines_that_cannot_be_read_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,text,brand\n1,"Weird Al,x\n2,b,y\n3,c\n')
    table = read_whole([FileEntry(str(path), path.stat().st_size)], CsvFormat())
    assert table["item_id"].to_pylist() == ["2"]
    assert 'items.csv: 2 lines cannot be read, the first: line 2: 1,"Weird Al,x' in capsys.readouterr().out


def test_a_table_of_broken_lines_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "users.dat"
    path.write_text("1::a\n2::b\n")
    wide = CsvFormat(":", tuple("abcdefg"), False)
    assert read_whole([FileEntry(str(path), path.stat().st_size)], wide).to_pydict() == {name: [] for name in "abcdefg"}
