"""session-rec's prepared splits (yoochoose, diginetica, …): tab-separated `SessionId ItemId Time`, time in seconds.

There are no users: the session is the user. The files of one split are read together, `NAME_train_full` and
`NAME_test`; `NAME_train_tr` and `NAME_train_valid` are the training part once more, and are read where there is no
other.
"""

import re

from ray_userrep.errors import UserError
from ray_userrep.logs.files import CsvFormat, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NAME = re.compile(r"(?P<name>.+)_(?P<part>train_full|train_tr|train_valid|test)(?P<slice>\.\d+)?\.txt")
_LAYOUT = LogLayout({"user_id": "SessionId", "item_id": "ItemId", "timestamp": "Time"}, CsvFormat("\t", quoted=False))


def recognise(names: list[str]) -> bool:
    """A `NAME_train_full.txt`, with or without the number of a slice."""
    found = [_NAME.fullmatch(stem(name)) for name in names]
    return any(one is not None and one["part"] == "train_full" for one in found)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions of one split; nothing is known of items and users.

    Raises:
        UserError: there is no split, or more than one.
    """
    named = [(file, found) for file in files if (found := _NAME.fullmatch(stem(file.uri)))]
    splits = sorted({found["name"] + (found["slice"] or "") for _, found in named})
    if len(splits) != 1:
        raise UserError(
            f"one split of session-rec (NAME_train_full.txt, NAME_test.txt) is needed, {len(files)} files hold "
            f"{', '.join(splits[:5]) or 'none'}: put each into a folder of its own"
        )
    whole = any(found["part"] == "train_full" for _, found in named)
    chosen = [file for file, found in named if not whole or found["part"] in ("train_full", "test")]
    log = scan(config, chosen, _LAYOUT)
    return Tables(log.parts(), None, None, log.order)
