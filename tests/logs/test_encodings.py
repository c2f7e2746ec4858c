"""Text of any encoding as UTF-8, in pieces of any size."""

import codecs
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.logs.encodings import as_utf8

TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\0"), min_size=2, max_size=300)


def read(data: bytes, encoding: str | None, size: int) -> str:
    source = as_utf8(io.BytesIO(data), encoding)
    return b"".join(iter(lambda: source.read(size), b"")).decode()


@settings(max_examples=25)
@given(TEXT, st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]), st.integers(1, 50))
def test_unicode_shows_itself(text: str, encoding: str, size: int) -> None:
    assert read(text.encode(encoding), None, size) == text


@settings(max_examples=25)
@given(TEXT, st.sampled_from(["latin-1", "utf-8", "utf-16"]), st.integers(1, 50))
def test_others_are_read_as_they_are_said(text: str, encoding: str, size: int) -> None:
    assert read(text.encode(encoding), encoding, size) == text


def test_a_wrong_word_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        read(b"plain", "utf-16", 100)
    with pytest.raises(UnicodeDecodeError):
        read(codecs.BOM_UTF16_LE + b"a\0b", None, 100)
