"""Whether the times of a log are likely to be meant: numbers read in a wrong unit give a log of 1970 or of the future.

Nothing but the first rows of the files is looked at, before any work; a log one of whose times is of our days passes.
Who says from which day numbers count (`logs.timestamp_origin`) is believed. Small numbers, as of toy logs or of logs
that only say the order, are a warning and no error.
"""

import datetime as dt
import time
from contextlib import suppress

_FIRST = dt.datetime(1980, 1, 1, tzinfo=dt.UTC).timestamp()  # the first moment that numbers are guessed to mean
_YEAR = 366 * 86_400
_SMALL = 10_000  # seconds
_DIGITS = {4: "%Y", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_SECONDS = {"d": 86_400.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SHEET = 25_569  # days from 1899-12-30, from which spreadsheets count, to 1970


def doubt(earliest: float, latest: float) -> str | None:
    """What is odd about a log whose first rows lie between two moments, in seconds since 1970; None is nothing."""
    if earliest >= 0 and latest < _YEAR:
        return "all times lie in 1970"
    return "all times lie more than a year ahead" if earliest > time.time() + _YEAR else None


def is_small(latest: float) -> bool:
    """Whether times of 1970 are those of a toy, or an order: numbers below 10,000 that are no years."""
    return latest < 1900 or 2100 < latest < _SMALL


def cure(sample: str) -> str | None:
    """The settings that make a moment of our days of a number; None where none does."""
    try:
        number = float(sample)
    except ValueError:
        return None
    format = _DIGITS.get(len(sample.strip()))
    if format is not None and sample.strip().isdigit():
        with suppress(ValueError):
            if _is_recent(dt.datetime.strptime(sample.strip(), format).replace(tzinfo=dt.UTC).timestamp()):
                return f"logs.timestamp_format {format}"
    for unit, seconds in _SECONDS.items():
        if _is_recent(number * seconds):
            return f"logs.timestamp_unit {unit}"
    if _is_recent((number - _SHEET) * _SECONDS["d"]):
        return "logs.timestamp_unit d and logs.timestamp_origin 1899-12-30, from which spreadsheets count"
    return None


def is_rounded(sample: list[str]) -> bool:
    """Whether numbers in scientific notation all lack the digits that whole units take."""
    parts = [text.strip().lower().partition("e") for text in sample]
    if not sample or not all(mark for _, mark, _ in parts):
        return False
    with suppress(ValueError):
        return all(len(digits.partition(".")[2]) < int(power) for digits, _, power in parts)
    return False


def _is_recent(moment: float) -> bool:
    return _FIRST <= moment <= time.time() + _YEAR
