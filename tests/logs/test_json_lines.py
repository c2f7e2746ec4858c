"""JSON arrays and Python literals as JSON lines, against the standard library."""

import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.logs import json_lines as module
from ray_userrep.logs.json_lines import json_lines

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3)
)
OBJECTS = st.lists(st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=4), max_size=6)


def lines(text: str) -> list[object]:
    source = json_lines(io.BytesIO(text.encode()))
    return [json.loads(line) for line in b"".join(iter(lambda: source.read(1), b"")).splitlines()]


@settings(max_examples=20)
@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_an_array_is_its_objects(objects: list[dict], indent: int | None, ascii: bool, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", size)
        assert lines("\n " + json.dumps(objects, indent=indent, ensure_ascii=ascii) + "\n") == objects


@settings(max_examples=20)
@given(OBJECTS)
def test_python_literals(objects: list[dict]) -> None:
    objects = [{"user_id": 'it\'s "x"', **one} for one in objects]
    assert lines("".join(f"{one!r}\n" for one in objects)) == objects


def test_a_broken_literal_stays_as_it_is() -> None:
    source = json_lines(io.BytesIO(b"{u'user_id': u'a', 'n': 1}\n{'user_id': \n"))
    assert b"".join(iter(lambda: source.read(1), b"")) == b'{"user_id": "a", "n": 1}\n{\'user_id\': \n'


def test_an_array_that_breaks_off() -> None:
    source = json_lines(io.BytesIO(b'[{"a": 1}, {"a": '))
    assert source.read(1) == b'{"a": 1}\n'
    with pytest.raises(pa.ArrowInvalid, match=r"breaks off at '\{\"a\": '"):
        source.read(1)
