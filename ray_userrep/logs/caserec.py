"""What the cuts of the Case Recommender project share: tab-separated `.dat` files with a header, and no time.

The n-th row of a file is put n seconds after the epoch (see `sequences`), though the order of its rows is only that of
the file: nothing about time can be learnt from such a log. The archives are read as they are, without unpacking.
"""

from functools import partial

import pyarrow as pa

from ray_userrep.logs.files import CsvFormat, stem
from ray_userrep.logs.scan import LogLayout
from ray_userrep.logs.sequences import seconds
from ray_userrep.logs.shape import LineParser
from ray_userrep.storage import FileEntry

TABS = CsvFormat("\t", quoted=False)


def untimed(user: str, item: str, events: dict[str, str]) -> LogLayout:
    """The layout of files of pairs; the file's name without `.dat` says which of `events` they are."""
    columns = {"user_id": user, "item_id": item, "timestamp": "second"} | ({"event": "behaviour"} if events else {})
    parser = LineParser({user: None, item: None}, partial(_rows, events=events))
    return LogLayout(columns, TABS, parser=parser, timed=False)


def only(files: list[FileEntry], *names: str) -> list[FileEntry]:
    """The files of these names, in the order of the names."""
    return [file for name in names for file in files if stem(file.uri) == name]


def _rows(rows: pa.Table, file: FileEntry, first_line: int, events: dict[str, str]) -> pa.Table:
    rows = rows.append_column("second", seconds(rows, first_line))
    event = events.get(stem(file.uri))
    return rows if event is None else rows.append_column("behaviour", pa.repeat(pa.scalar(event), rows.num_rows))
