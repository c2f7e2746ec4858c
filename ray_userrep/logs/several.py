"""Which of several plain tables are the log: tables of users or items are left aside, two kinds of events are refused.

Whoever names a folder means one log in many files, which are alike; files that differ in name and columns may be views
and purchases, and as one log would lose which is which. Every file is opened once more for that, so that only logs of
few files are looked at; a pattern says that all are meant.
"""

import json
import re
from itertools import combinations
from pathlib import PurePosixPath

from ray_userrep.errors import UserError
from ray_userrep.logs.beside import KEYS
from ray_userrep.logs.canonical import REQUIRED
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.files import CsvFormat, column_names, head, stem
from ray_userrep.logs.hive import folder_values
from ray_userrep.logs.listing import Beside, is_pattern
from ray_userrep.logs.names import keys_among, plain
from ray_userrep.logs.text_files import EXACT
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_MOST_FILES = 64
_DISTINCT = 0.9  # of the first keys of a table, below which it may be a log
_WORD = re.compile(r"[^\W\d_]{3,}")


def interactions_among(config: LogsConfig, files: list[FileEntry], csv: CsvFormat) -> list[FileEntry]:
    """The files that may be of the log; those that are tables of users or items are told of and left out.

    Raises:
        UserError: two of them both look like the log, and unlike each other.
    """
    if not 1 < len(files) <= _MOST_FILES:
        return files
    wanted = {
        name: config.columns.get(name, name) for name in REQUIRED if config.order == "time" or name != "timestamp"
    }
    names = {file: _names(file, csv) for file in files}
    missing = {
        file: [name for name, column in wanted.items() if plain(column) not in map(plain, names[file])]
        for file in files
    }
    complete = [file for file in files if names[file] and not missing[file]]
    if not complete:
        return files  # the scan says what they lack
    if not is_pattern(config):
        _refuse_unlike({file: names[file] for file in complete})
    beside = {file: kind for file in files if missing[file] and (kind := _kind(config, file, names[file], csv))}
    for file, kind in beside.items():
        print(f"note      {file.uri} is no log but looks like a table of {kind}: --logs.{kind} reads it", flush=True)
    return [file for file in files if file not in beside]


def _names(file: FileEntry, csv: CsvFormat) -> list[str]:
    try:
        return [*column_names(file, csv), *folder_values(file.uri)]
    except DamagedFile:
        return []  # the scan tells of it


def _kind(config: LogsConfig, file: FileEntry, names: list[str], csv: CsvFormat) -> Beside | None:
    """What a file without times is a table of, where it has one key, and a row each."""
    if plain(config.columns.get("timestamp", "timestamp")) in map(plain, names):
        return None
    found = {kind: keys_among(names, key, filter(None, [config.columns.get(key)])) for kind, key in KEYS.items()}
    there = [(kind, keys[0]) for kind, keys in found.items() if len(keys) == 1]
    if len(there) != 1 or any(len(keys) > 1 for keys in found.values()):
        return None
    kind, key = there[0]
    values = head(file, csv, {key: EXACT})[key].drop_null()
    return kind if len(values) and len(values.unique()) >= _DISTINCT * len(values) else None


def _refuse_unlike(columns: dict[FileEntry, list[str]]) -> None:
    """Refuse two files of one folder that are called by other words and have other columns."""
    for one, other in combinations(columns, 2):
        folder, there = (file.uri.rpartition("/")[0] for file in (one, other))
        words = [_WORD.match(stem(file.uri)) for file in (one, other)]
        named = {word[0]: PurePosixPath(file.uri).name for word, file in zip(words, (one, other), strict=True) if word}
        if folder == there and len(named) == 2 and set(columns[one]) != set(columns[other]):
            events = json.dumps(named, ensure_ascii=False)
            raise UserError(
                f"{one.uri} and {other.uri} both look like the log, and have other columns: name the one that is, as "
                f"in --logs {one.uri}; or say what each tells with --logs.events '{events}'; or, where both are one "
                f"log, name them by a pattern: --logs '{folder}/*'"
            )
