"""Rates by a clock of the test's own, and where tokens come from."""

import pytest

from ray_userrep.endpoint.gate import Rates, digest_of
from ray_userrep.endpoint.token import is_open, token_digest
from ray_userrep.errors import UserError
from ray_userrep.recipe.serve import ServeConfig

TOKEN = "0123456789abcdef"


def test_a_client_asks_a_second_s_worth_at_once_and_then_by_the_rate():
    now = [0.0]
    rates = Rates(4, lambda: now[0])
    assert [rates.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert rates.wait("b") == 0
    now[0] = 0.25
    assert [rates.wait("a"), rates.wait("a")] == [0, 0.25]
    now[0] = 100.0
    assert [rates.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_clients_that_have_not_asked_for_longest_are_forgotten():
    rates = Rates(1, lambda: 0.0)
    rates.wait("first")
    for number in range(10_000):
        rates.wait(str(number))
    assert rates.wait("first") == 0


def test_a_token_comes_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_USERREP_TOKEN", raising=False)
    (tmp_path / "token").write_text(TOKEN + "\n")
    in_file = ServeConfig(token_file=str(tmp_path / "token"))
    assert token_digest(ServeConfig(), is_open=False) is None
    assert token_digest(in_file, is_open=True) == digest_of(TOKEN)
    with pytest.raises(UserError, match="others can reach it: set a token"):
        token_digest(ServeConfig(), is_open=True)
    monkeypatch.setenv("RAY_USERREP_TOKEN", TOKEN)
    assert token_digest(ServeConfig(), is_open=True) == digest_of(TOKEN)
    with pytest.raises(UserError, match="are both given"):
        token_digest(in_file, is_open=True)
    monkeypatch.setenv("RAY_USERREP_TOKEN", "short")
    with pytest.raises(UserError, match="takes 16 letters and digits or more"):
        token_digest(ServeConfig(), is_open=False)


def test_only_the_machine_s_own_addresses_are_closed():
    assert [is_open(host) for host in ("127.0.0.1", "::1", "localhost")] == [False] * 3
    assert [is_open(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [True] * 4
