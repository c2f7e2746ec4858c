"""NextItNet's session files: one session a line, item ids joined by commas, in order.

There are no users: the session is the user, numbered by its non-empty line from 0 (in the k-th of several files, by
path, from k · 2⁴⁰). `0` fills up short sessions and is no item. Order without time, see `untimed`.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.files import stem
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import histories, ids_of, line_numbers, text_lines, unroll
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NAME = re.compile(r"user-filter-\d+items-session\d+\.csv")


def recognise(names: list[str]) -> bool:
    """A `user-filter-Nitems-sessionL.csv`."""
    return any(_NAME.fullmatch(stem(name)) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions of all CSV files; nothing is known of items and users.

    Raises:
        UserError: there is no CSV file, or none has a session.
    """
    sessions = [file for file in files if stem(file.uri).endswith(".csv")]
    if not sessions:
        raise UserError(f"no file of sessions (.csv) among {len(files)} files")
    log = scan(config, sessions, histories(_rows))
    return Tables(log.parts(), None, None, log.order)


def _rows(lines: pa.Table, _: FileEntry, first_line: int) -> pa.Table:
    return unroll(line_numbers(lines, first_line), ids_of(pc.split_pattern(text_lines(lines), ",")))
