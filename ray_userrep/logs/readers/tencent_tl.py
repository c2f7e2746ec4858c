"""Tencent's transfer-learning data (PeterRec's TL, ColdRec): pretraining and transfer files, one user a line.

A pretraining line is `i1,…,iL`, a transfer line `i1,…,iL,,t1,t2,…` with the targets after the double comma; `0` fills
up short histories and is no item. There are no user ids: a user is numbered by the non-empty line from 0 (in the k-th
of several files, by path, from k · 2⁴⁰), so that the same person in two files is two users.

Targets are interactions that follow the history, told apart by `domain`: `source` and `target`. Ids mean the same item
in both. Files named for a label (`…_age…`, `…_gender…`, `…_life…`) have the label in the targets' place: it becomes an
attribute of the user, as the text that stands there, and no interaction. Order without time, see `untimed`.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import read_whole
from ray_userrep.logs.files import ROWS_PER_FILE, stem
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import LINES, histories, ids_of, line_numbers, text_lines, unroll
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_NAME = re.compile(r"(history_sequences_\d+.*_transfer_(pretrain|finetune)|original_desen_).*\.csv")
_LABEL = re.compile(r"[_-](age|gender|life|profession|education)")
_SPLIT = ",,"


def recognise(names: list[str]) -> bool:
    """A `history_sequences_…_transfer_pretrain….csv`, a `…_finetune….csv`, or an `original_desen_….csv`."""
    return any(_NAME.fullmatch(stem(name)) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions of all CSV files; users have the labels of the files that are named for one.

    Raises:
        UserError: there is no CSV file, or none has a history.
    """
    logs = [file for file in files if stem(file.uri).endswith(".csv")]
    if not logs:
        raise UserError(f"no file of histories (.csv) among {len(files)} files")
    found = scan(config, logs, histories(_rows, "domain"))
    users = [
        _users(file, label, number, found.mapping.user_type)
        for number, file in enumerate(logs)
        if (label := _label(file)) is not None
    ]
    told = pa.concat_tables(users, promote_options="default") if users else None
    return Tables(found.parts(), None, told, found.order)


def _label(file: FileEntry) -> str | None:
    found = _LABEL.search(stem(file.uri))
    return found[1] if found else None


def _rows(lines: pa.Table, file: FileEntry, first_line: int) -> pa.Table:
    text = text_lines(lines)
    history = ids_of(pc.split_pattern(pc.list_element(pc.split_pattern(text, _SPLIT), 0), ","))
    whole = history if _label(file) else ids_of(pc.split_pattern(text, ","))
    rows = unroll(line_numbers(lines, first_line), whole)
    history_sizes = np.repeat(history.value_lengths().to_numpy(), whole.value_lengths().to_numpy())
    domain = pc.if_else(pc.less(rows["second"], pa.array(history_sizes)), "source", "target")
    return rows.append_column("domain", domain)


def _users(file: FileEntry, label: str, number: int, kind: pa.DataType) -> pa.Table:
    lines = read_whole([file], LINES)
    words = pc.split_pattern(text_lines(lines), _SPLIT, max_splits=1)
    labels = pc.list_element(pc.list_slice(words, 1, 2, return_fixed_size_list=True), 0)
    user_ids = line_numbers(lines, number * ROWS_PER_FILE).cast(kind)
    return pa.table({"user_id": user_ids, label: labels})
