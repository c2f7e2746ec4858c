"""Partitioned logs: what the folders `key=value` of a file's place say, and which files a range of days leaves.

A file's own column wins over a folder of the same name. Where folders date a file, the range goes by them, so that
whole files are skipped unread; a folder's day may be local time, and then its rows reach past the day in UTC.
"""

import datetime as dt
from itertools import takewhile
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NULL = "__HIVE_DEFAULT_PARTITION__"
_DAY_KEYS = ("date", "dt", "ds", "day")


def folder_values(uri: str) -> dict[str, str | None]:
    """The columns that a file's folders stand for, as text."""
    pairs = [folder.partition("=") for folder in uri.split("/")[:-1]]
    return {key: None if value == _NULL else unquote(value) for key, equals, value in pairs if key and equals}


def folder_period(uri: str) -> tuple[dt.date, dt.date] | None:
    """The first and last day that a file's folders (`date=`, `dt=`, `ds=`, `day=`, or `year=/month=/day=`) tell."""
    values = folder_values(uri)
    for key in _DAY_KEYS:
        day = _iso(values.get(key))
        if day is not None:
            return day, day
    try:
        numbers = [int(value) for value in takewhile(bool, map(values.get, ("year", "month", "day"))) if value]
        return _span(numbers)
    except ValueError:
        return None


def prune(config: LogsConfig, files: list[FileEntry]) -> list[FileEntry]:
    """The files whose folders do not put them outside the range of days.

    Raises:
        UserError: none is left.
    """
    first, last = config.from_date or dt.date.min, config.to_date or dt.date.max
    periods = [folder_period(file.uri) for file in files]
    inside = [one is None or (one[0] <= last and first <= one[1]) for one in periods]
    dated = [one for one in periods if one is not None]
    if dated and not any(one and here for one, here in zip(periods, inside, strict=True)):
        low, high = min(one[0] for one in dated), max(one[1] for one in dated)
        raise UserError(
            f"no partition lies between logs.from_date {config.from_date} and logs.to_date {config.to_date}: "
            f"the log's folders run from {low} to {high}"
        )
    return [file for file, here in zip(files, inside, strict=True) if here]


def is_cut(config: LogsConfig, uri: str) -> bool:
    """Whether a file may hold rows on both sides of a bound, so that their timestamps must be asked."""
    if config.from_date is None and config.to_date is None:
        return False
    one = folder_period(uri)
    return one is None or one[0] < (config.from_date or dt.date.min) or one[1] > (config.to_date or dt.date.max)


def in_range(config: LogsConfig, rows: pa.Table) -> pa.ChunkedArray:
    """Which canonical rows are of the wanted days, or have no time that could tell."""
    days = rows["timestamp"].cast(pa.date32())
    first, last = (pa.scalar(bound, pa.date32()) for bound in (config.from_date, config.to_date))
    early = pc.fill_null(pc.less(days, first), False)
    late = pc.fill_null(pc.greater(days, last), False)
    return pc.or_(pc.is_valid(rows["reason"]), pc.invert(pc.or_(early, late)))


def refuse_range(config: LogsConfig, place: str) -> None:
    """Refuse to choose days of a log whose times only say the order.

    Raises:
        UserError: a range of days is wanted.
    """
    if config.from_date is not None or config.to_date is not None:
        raise UserError(f"logs.from_date, logs.to_date: the layout of {place} has no times to choose days by")


def _iso(value: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(value) if value else None
    except ValueError:
        return None


def _span(numbers: list[int]) -> tuple[dt.date, dt.date] | None:
    """The days of a year, of a month of it, or one day."""
    if len(numbers) == 1:
        return dt.date(numbers[0], 1, 1), dt.date(numbers[0], 12, 31)
    if len(numbers) == 2:
        first = dt.date(numbers[0], numbers[1], 1)
        return first, (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    return (dt.date(*numbers), dt.date(*numbers)) if numbers else None
