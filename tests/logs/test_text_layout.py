"""The layout of delimited text: what is said, and what first lines show, against what the standard library writes."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.logs.text_layout import BLANKS, CsvFormat, csv_format, settle
from ray_userrep.recipe.logs import LayoutConfig

NAMES = ("user_id", "item_id", "timestamp")
TOLD = CsvFormat(header=None, expected=NAMES)


def written(rows: list[tuple[str, ...]], between: str, end: str = "\n", quote: str = '"') -> bytes:
    sink = io.StringIO()
    csv.writer(sink, delimiter=between, quotechar=quote, lineterminator=end).writerows(rows)
    return sink.getvalue().encode()


@settings(max_examples=40)
@given(st.sampled_from(";\t|,"), st.sampled_from([".csv", ".tsv", ".dat"]), st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_only_separator_of_a_header_is_the_one(between: str, suffix: str, end: str) -> None:
    found = settle(written([NAMES, ("1", "a", "2")], between, end), suffix, TOLD)
    assert (found.delimiter, found.names, found.lines) == (between, NAMES, 1)
    assert bool(found.notes) == ((suffix, between) not in ((".csv", ","), (".tsv", "\t")))


@settings(max_examples=40)
@given(st.lists(st.text(st.sampled_from('ab ,"\n\t;'), max_size=5), min_size=2, max_size=5), st.sampled_from(",;"))
def test_quoted_names_are_those_of_the_standard_library(names: list[str], between: str) -> None:
    data = written([("user_id", *names), ("x", *names)], between)
    found = settle(data, ".csv", CsvFormat(between))
    assert found.names == ("user_id", *(name.strip() for name in names))
    assert data[found.start :] == written([("x", *names)], between)


@pytest.mark.parametrize(
    ("line", "delimiter", "names"),
    [
        (b"1::2::5::978300760\n", "::", "0123"),
        (b"196 242\n", BLANKS, "01"),
        (b"  7   9\n", BLANKS, "01"),
        (b'151603712,"The Elder Scrolls V Skyrim",purchase,1.0,0\n', ",", "01234"),
        (b"1;2;12,50\n", ";", "012"),
        (b"1,2,3\n", ",", "012"),
        (b"u1,i1,2024-01-31 10:00:00\n", ",", "012"),
        (b'"user_id" "item_id"\n', " ", NAMES[:2]),
        (b'"user_id"\t"item_id"\n', "\t", NAMES[:2]),
        (b"User_ID , 1999\n", ",", ("User_ID", "1999")),
        (b",0,1,2\n", ",", ("", "0", "1", "2")),
        (b"one;two,three\n", ",", ("one;two", "three")),
    ],
)
def test_first_lines(line: bytes, delimiter: str, names: tuple[str, ...]) -> None:
    found = settle(line, ".csv", TOLD)
    assert (found.delimiter, found.names) == (delimiter, tuple(names))
    assert found.start == (0 if found.names[0] == "0" else len(line))


def test_what_is_said_comes_first() -> None:
    said = LayoutConfig(separator="^", header=False, skip_lines=2, quote="single", encoding="latin1")
    found = settle(b"# a\n# b\nuser_id^'the ^ one'\n", ".csv", csv_format(said, NAMES))
    assert found == ("^", "'", ("0", "1"), 8, 2, False, ())
    assert csv_format(said, NAMES).encoding == "iso8859-1"


def test_separators_of_several_characters_become_one() -> None:
    found = settle(b"a::b:c::d\n", ".dat", CsvFormat("::"))
    assert found.unified(b"1::2:3::4\n") == f"1{found.between}2:3{found.between}4\n".encode()
    blanks = settle(b"a b\n", ".txt", CsvFormat(BLANKS))
    assert blanks.unified(b" 1 \t 2 \r\n3 4\n") == f"1{blanks.between}2\r\n3{blanks.between}4\n".encode()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("separator", "a", "tab, blank or signs"), ("separator", "\n", "tab, blank"), ("encoding", "zip", "latin-1")],
)
def test_what_cannot_be_is_refused(field: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"logs\.layout\.{field}: .*{message}"):
        LayoutConfig(**{field: value})
