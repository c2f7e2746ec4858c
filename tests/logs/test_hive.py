"""Folders that say what their files hold: values, days and the files that a range leaves."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.logs.hive import folder_period, folder_values, is_cut, prune
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

DAY = dt.date(2024, 2, 29)


def test_folders_are_columns_and_file_names_are_not() -> None:
    uri = "s3://bucket/log/date=2024-02-29/domain=caf%C3%A9%2Fbar/x=__HIVE_DEFAULT_PARTITION__/=y/part=3.parquet"
    assert folder_values(uri) == {"date": "2024-02-29", "domain": "café/bar", "x": None}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ("date=2024-02-29", (DAY, DAY)),
        ("domain=x/ds=20240229/hour=3", (DAY, DAY)),
        ("year=2024/month=02/day=29", (DAY, DAY)),
        ("year=2024/month=2", (dt.date(2024, 2, 1), DAY)),
        ("year=2024/month=12", (dt.date(2024, 12, 1), dt.date(2024, 12, 31))),
        ("year=2023", (dt.date(2023, 1, 1), dt.date(2023, 12, 31))),
        ("year=2023/day=29", (dt.date(2023, 1, 1), dt.date(2023, 12, 31))),
        ("date=__HIVE_DEFAULT_PARTITION__", None),
        ("date=soon", None),
        ("year=2024/month=13", None),
        ("domain=2024-02-29", None),
        ("2024-02-29", None),
    ],
)
def test_days_of_a_folder(folders: str, expected: tuple[dt.date, dt.date] | None) -> None:
    assert folder_period(f"s3://bucket/{folders}/part.parquet") == expected


@given(st.lists(st.integers(0, 40), max_size=12), st.none() | st.integers(0, 40), st.none() | st.integers(0, 40))
def test_a_range_leaves_the_files_whose_days_it_has(days: list[int], first: int | None, last: int | None) -> None:
    def day(number: int | None) -> dt.date | None:
        return None if number is None else DAY + dt.timedelta(number)

    if first is not None and last is not None:
        first, last = sorted((first, last))
    config = LogsConfig(from_date=day(first), to_date=day(last))
    files = [FileEntry(f"log/date={day(number)}/a.csv", 1) for number in days] + [FileEntry("log/items.csv", 1)]
    wanted = [number for number in days if (first is None or first <= number) and (last is None or number <= last)]
    if days and not wanted:
        with pytest.raises(UserError, match=rf"the log's folders run from {day(min(days))} to {day(max(days))}"):
            prune(config, files)
        return
    assert prune(config, files) == [FileEntry(f"log/date={day(n)}/a.csv", 1) for n in wanted] + [files[-1]]


def test_only_files_across_a_bound_need_their_rows_asked() -> None:
    config = LogsConfig(from_date=dt.date(2024, 2, 10), to_date=dt.date(2024, 3, 31))
    assert is_cut(config, "log/year=2024/month=2/a.csv") and is_cut(config, "log/a.csv")
    assert not is_cut(config, "log/year=2024/month=3/a.csv") and not is_cut(config, "log/date=2024-02-10/a.csv")
    assert not is_cut(LogsConfig(), "log/a.csv")


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logs\.from_date 2024-02-02 is after logs\.to_date 2024-02-01"):
        LogsConfig(from_date=dt.date(2024, 2, 2), to_date=dt.date(2024, 2, 1))
