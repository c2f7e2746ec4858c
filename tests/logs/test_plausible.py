"""Times in a wrong unit are refused with the setting that is right, and those of our days never."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs.plausible import cure, doubt
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import list_files

COLUMNS = {name: name for name in ("user_id", "item_id", "timestamp")}
DAYS = st.integers(3_653, 20_000)


@given(DAYS, st.integers(0, 86_399))
def test_the_unit_of_a_number_is_guessed(day: int, second: int) -> None:
    moment = day * 86_400 + second
    assert doubt(moment, moment) is None
    for unit, per in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        assert cure(str(moment * per)) == f"logs.timestamp_unit {unit}"
    assert cure(str(day)) == "logs.timestamp_unit d"


def first_days(folder: Path, times: list[str], **config: Any) -> list[str]:
    rows = "".join(f"u{n},i{n},{time}\n" for n, time in enumerate(times))
    (folder / "log.csv").write_text(f"user_id,item_id,timestamp\n{rows}")
    found = scan(LogsConfig(**config), list_files(str(folder)), LogLayout(COLUMNS))
    return [str(time)[:10] for table, _ in found.tables([]) for time in table["timestamp"].to_pylist()]


@pytest.mark.parametrize(
    ("times", "settings"),
    [
        (["20240102", "20240103"], {"timestamp_format": "%Y%m%d"}),
        (["2023", "2024"], {"timestamp_format": "%Y"}),
        (["20240102134500"], {"timestamp_format": "%Y%m%d%H%M%S"}),
        (["19724", "19725"], {"timestamp_unit": "d"}),
        (["45293", "45294.5"], {"timestamp_unit": "d", "timestamp_origin": "1899-12-30"}),
        (["1704153600000"], {"timestamp_unit": "ms"}),
        (["1704153600000000"], {"timestamp_unit": "us"}),
    ],
    ids=str,
)
def test_implausible_times_are_refused_with_the_cure(
    tmp_path: Path, times: list[str], settings: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"'timestamp' of .*log\.csv holds, for example") as caught:
        first_days(tmp_path, times)
    assert all(f"logs.{name} {value}" in str(caught.value) for name, value in settings.items())
    assert all(day.startswith("202") for day in first_days(tmp_path, times, **settings))


def test_what_is_said_to_be_meant_is_believed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"all times lie in 1970: .* logs\.timestamp_origin 1970-01-01"):
        first_days(tmp_path, ["2000000", "3000000"])
    assert first_days(tmp_path, ["2000000"], timestamp_origin="1970-01-01") == ["1970-01-24"]
    assert first_days(tmp_path, ["2000000", "1704153600"]) == ["1970-01-24", "2024-01-02"]


def test_small_numbers_are_an_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert first_days(tmp_path, ["0", "1", "2"]) == ["1970-01-01"] * 3
    assert "warning   all times lie in 1970" in capsys.readouterr().out


def test_rounded_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rounded numbers, for example '1\.7042e\+09'"):
        first_days(tmp_path, ["1.7042e+09", "1.7043e+09"])
    assert first_days(tmp_path, ["1.7042e+09", "1.704231544e+09"]) == ["2024-01-02", "2024-01-02"]
