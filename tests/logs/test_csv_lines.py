"""CSV with and without stray quotes, against the standard library's reader of the sound lines."""

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ray_userrep.logs.csv_lines import SoundLines

# A field that holds both commas and ends of lines may look like rows, which is set aside.
PIECES = st.one_of(st.text(st.sampled_from(chars), max_size=6).map("t".__add__) for chars in ('x," é', 'x"\n é'))
ROWS = st.lists(st.tuples(st.integers(0, 99).map(str), PIECES, PIECES), min_size=1, max_size=8)


def sound(data: bytes, size: int = 2**20, quoted: bool = True, whole: bool = True) -> tuple[str, list[str]]:
    """What is left of a file that comes in blocks of whole lines of about a size, and what was set aside."""
    lines, blocks, malformed = data.splitlines(keepends=True), [b""], list[str]()
    for line in lines:
        if len(blocks[-1]) >= size:
            blocks.append(b"")
        blocks[-1] += line
    num_fields = lines[0].count(b",") + 1 if lines else 1
    found = SoundLines(blocks, ",", '"' if quoted else None, malformed, num_fields, whole=whole).readall()
    return found.decode(errors="replace"), malformed


@settings(deadline=None)
@given(ROWS, st.integers(1, 60), st.sampled_from(["\n", "\r\n"]))
@example([("1", "t\n\n", "t"), ("2", 't"', "t")], 1, "\n")
def test_well_formed_csv_is_left_as_it_is(rows: list[tuple[str, ...]], size: int, end: str) -> None:
    sink = io.StringIO()
    csv.writer(sink, lineterminator=end).writerows([("a", "b", "c"), *rows])
    text = sink.getvalue()
    assert sound(text.encode(), size) == (text, [])
    left, malformed = sound(text.removesuffix(end).encode(), size)
    assert left.removesuffix("\n") == text.removesuffix(end) and malformed == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(['u,"12 inch,1', 'u,12",1', 'u,"a"b,1', 'u,"a,b",1', "u,a,1"]), max_size=12))
def test_a_stray_quote_costs_its_own_line(lines: list[str]) -> None:
    # A quote that ends a field ends what an earlier one began: then each of the lines between could be a row.
    lines = [line for line in lines if line != 'u,12",1' or "12 inch" not in str(lines)]
    left, malformed = sound("\n".join(["a,b,c", *lines, ""]).encode(), size=30)
    bad = [number for number, line in enumerate(lines, 2) if line in ('u,"12 inch,1', 'u,"a"b,1')]
    assert malformed == [f"line {number}: {lines[number - 2]}" for number in bad]
    kept = ["" if number in bad else line for number, line in enumerate(lines, 2)]
    assert left.splitlines() == ["a,b,c", *kept]


def test_rows_between_two_quotes_that_match_are_set_aside() -> None:
    rows = [f"u{n},t,{n}" for n in range(5)]
    text = "\n".join(["a,b,c", 'u,"t,7', *rows, 'u,t",8', "v,t,9"])
    left, malformed = sound(text.encode())
    assert left.split() == ["a,b,c", "v,t,9"]
    assert malformed == [f"line {n}: {line}" for n, line in enumerate(['u,"t,7', *rows, 'u,t",8'], 2)]
    assert sound(b'a,b,c\nu,"t,7\nv,t",8\n')[1] == ['line 2: u,"t,7', 'line 3: v,t",8']


def test_a_field_of_several_lines_stays_one() -> None:
    text = 'a,b,c\nu,"well, 1 day\nlater, or 2, it broke",8\n'
    assert sound(text.encode(), size=1) == (text, [])


def test_the_start_of_a_file_may_end_within_quotes() -> None:
    start = b'a,b,c\nu,t,1\nu,"one\ntwo\n'
    assert sound(start, whole=False) == ("a,b,c\nu,t,1\n", [])
    assert sound(start)[1] == ['line 3: u,"one']


def test_without_quotes_they_are_data() -> None:
    text = 'a,b\n"x,1\n2,"y"z\n'
    assert sound(text.encode(), quoted=False) == (text, [])


def test_a_line_that_is_neither_utf8_nor_whole_is_set_aside() -> None:
    left, malformed = sound(b'a,b\ncaf\xe9,1\ncaf\xe9\n"caf\xe9, bar",2\nx\n')
    assert left.splitlines() == ["a,b", "caf\ufffd,1", "", '"caf\ufffd, bar",2', "x"]
    assert malformed == ["line 3: caf\ufffd"]
