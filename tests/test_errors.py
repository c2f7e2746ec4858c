"""Messages: one line that can be printed, whatever is in them."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.errors import DivergedError, UserError

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=50)  # surrogates too


@given(ANY_TEXT)
def test_a_message_is_one_line_that_can_be_stored_and_sent(text):
    message = str(UserError(f"{text}: what to do"))
    assert len(message.splitlines()) == 1 and "\0" not in message
    assert message.encode().decode() == message
    assert str(pickle.loads(pickle.dumps(UserError(message)))) == message == str(UserError(message))


@pytest.mark.parametrize("kind", [UserError, DivergedError])
def test_of_a_message_without_end_both_ends_are_kept(kind):
    message = str(kind("run: " + "x" * 200_000 + ": name another"))
    assert len(message) <= 2000 and message.startswith("run: xx") and message.endswith(": name another")
