"""Yelp as a heterogeneous network, from the repositories of HERec: `user_business.dat`, `user_user.dat` and others.

Tab-separated pairs of numbers with a value, without a header and without times: a user's businesses are a set, put in
an order drawn by a hash (see `untimed`). Items have categories and city; users a column for each of the eleven kinds of
compliment, 1 for those who got it, none where a user got no compliment at all; friendships are relations.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, read_whole, related
from ray_userrep.logs.files import CsvFormat, LineParser, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import COLUMNS, joined, shuffled
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_LOG = "user_business.dat"
_RATINGS = ("user", "item", "rating")


def recognise(names: list[str]) -> bool:
    """A `user_business.dat`."""
    return any(stem(name) == _LOG for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables; what is known of businesses and users only where its files are there.

    Raises:
        UserError: there is no file of ratings.
    """
    by_stem = {stem(file.uri): file for file in files}
    if _LOG not in by_stem:
        raise UserError(f"no {_LOG} among {len(files)} files")
    parser = LineParser(dict.fromkeys(_RATINGS), partial(shuffled, user="user", item="item"))
    layout = LogLayout(COLUMNS | {"rating": "rating"}, _pairs(*_RATINGS), parser=parser, timed=False)
    found = scan(config, [by_stem[_LOG]], layout)
    users, friends = by_stem.get("user_compliment.dat"), by_stem.get("user_user.dat")
    return Tables(
        found.parts(),
        _items(by_stem, found.mapping.item_type),
        None if users is None else _users(users, found.mapping.user_type),
        found.order,
        None
        if friends is None
        else related(_read(friends, "user_id", "other_id"), found.mapping.user_type, friends.uri),
    )


def _pairs(*names: str) -> CsvFormat:
    return CsvFormat("\t", names, quoted=False)


def _read(file: FileEntry, one: str, other: str) -> pa.Table:
    return read_whole([file], _pairs(one, other, "value")).select([one, other])


def _items(by_stem: dict[str, FileEntry], kind: pa.DataType) -> pa.Table | None:
    """Categories and city of each business."""
    told = [(name, by_stem.get(f"business_{name}.dat")) for name in ("category", "city")]
    tables = [joined(_read(file, "item_id", name), name) for name, file in told if file is not None]
    if not tables:
        return None
    first, *more = tables
    for table in more:
        first = first.join(table, "item_id", join_type="full outer")
    return keyed(first.sort_by("item_id"), "item_id", kind, _LOG)


def _users(file: FileEntry, kind: pa.DataType) -> pa.Table:
    """Who got which kind of compliment."""
    table = _read(file, "user_id", "compliment")
    users, kinds = (table[name].combine_chunks().dictionary_encode() for name in table.column_names)
    got_UC = np.zeros((len(users.dictionary), len(kinds.dictionary)), np.int64)
    got_UC[users.indices.to_numpy(), kinds.indices.to_numpy()] = 1
    names = [f"compliment_{kind}" for kind in kinds.dictionary.cast(pa.string()).to_pylist()]
    columns = dict(zip(names, map(pa.array, got_UC.T), strict=True))
    return keyed(pa.table({"user_id": users.dictionary} | columns), "user_id", kind, file.uri)
