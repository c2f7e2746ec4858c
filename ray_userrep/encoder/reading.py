"""What an encoder reads of an interaction, taken from what a caller has of users.

An encoder that is given less than it was trained on makes other vectors and would say nothing of it: what it reads is
asked for by name. Times are always taken, for the order that they tell, also by encoders that read none.

Shapes: B users, N interactions of all of them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple
from warnings import warn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.profiles import profile_hashes, stored_name
from ray_userrep.corpus.store import side_values
from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.given import microseconds_of, read_lists, read_table, read_values
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.encoder import EncoderConfig

PRICE = "price"
_USER, _ITEM, _TIME = "user_id", "item_id", "timestamp"


class Reads(NamedTuple):
    """What is read beside items: the field of the recipe that wants times, if any does, columns of interactions, and
    attributes of users."""

    times_for: str | None
    columns: tuple[str, ...]
    profile: tuple[str, ...] = ()

    @property
    def side(self) -> tuple[str, ...]:
        """What all but the times is called beside stored interactions."""
        return (*self.columns, *map(stored_name, self.profile))

    @property
    def fields(self) -> tuple[str, ...]:
        """What callers call it."""
        return (*self.columns, *self.profile)


class Known(NamedTuple):
    """Interactions with known items end to end, `[N]`, how many each user has, `[B]`, and the columns beside them."""

    items_N: NDArray[np.int64]
    lengths_B: NDArray[np.int64]
    columns_N: dict[str, NDArray[np.generic]]


class Tidy(NamedTuple):
    """Users in the order in which they first appear, and their lists, oldest interaction first."""

    user_ids: pa.Array
    items: pa.Array
    times: pa.Array | None
    fields: dict[str, pa.Array]


def reads(config: EncoderConfig) -> Reads:
    """What an encoder of this config wants to be given."""
    columns = [FIELDS[name].column for name in config.context if FIELDS[name].column != TIMESTAMPS]
    return Reads(config.reads_times(), tuple(columns), config.profile)


def known_interactions(
    table: ItemTable,
    wanted: Reads,
    histories: Iterable[Any],
    timestamps: Iterable[Any] | None,
    fields: Mapping[str, Iterable[Any]],
    unknown: Literal["skip", "error"],
) -> Known:
    """What the encoder reads of interactions whose items it knows.

    Raises:
        UserError: what it reads is missing, does not lie beside the items, or is of another kind; times go back; an
            unknown item, where those are refused.
    """
    if unknown not in ("skip", "error"):
        raise UserError(f"unknown: takes 'skip' or 'error' (given {unknown!r})")
    ids_N, lengths_B = read_lists(histories, table.ids.type, "item ids")
    columns_N = _columns(wanted, lengths_B, timestamps, fields)
    indices_N = table.index_of(ids_N)
    if unknown == "error" and (indices_N < 0).any():
        first = ids_N[int(np.argmax(indices_N < 0))].as_py()
        raise UserError(f"item {first!r} is not among the encoder's {len(table)} items")
    users_N = np.repeat(np.arange(len(lengths_B)), lengths_B)
    known_N = indices_N >= 0
    known_B = np.bincount(users_N[known_N], minlength=len(lengths_B))
    if num_strangers := int(((known_B == 0) & (lengths_B > 0)).sum()):
        warn(f"{num_strangers:,} of {len(lengths_B):,} users took nothing that the encoder knows: zeros", stacklevel=4)
    return Known(indices_N[known_N], known_B, {name: values_N[known_N] for name, values_N in columns_N.items()})


def tidy(interactions: Any, columns: Mapping[str, str], wanted: Reads) -> Tidy:
    """A table of one row an interaction as one list a user; rows go by time where there is a time, else as they stand.

    `columns` maps `user_id`, `item_id`, `timestamp` and side columns to the table's own names.

    Raises:
        UserError: it is no table, a column that is read is missing, or a user id is.
    """
    table = read_table(interactions, "interactions")
    own = {name: columns.get(name, name) for name in (_USER, _ITEM, _TIME, *wanted.fields)}
    _refuse_missing(table, own, columns, wanted)
    users = table[own[_USER]].combine_chunks()
    if users.null_count:
        raise UserError(f"column {own[_USER]!r}: {users.null_count} rows have no user")
    users = users.dictionary_decode() if pa.types.is_dictionary(users.type) else users
    encoded = users.dictionary_encode()  # in the order in which they appear
    codes_N, is_timed = encoded.indices.to_numpy(), own[_TIME] in table.column_names
    times_N = microseconds_of(table[own[_TIME]].combine_chunks()) if is_timed else np.zeros(len(codes_N), np.int64)
    order = np.lexsort((times_N, codes_N))
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.bincount(codes_N))]).astype(np.int32))
    lists = lambda values: pa.ListArray.from_arrays(offsets, values.take(pa.array(order)))  # noqa: E731
    return Tidy(
        encoded.dictionary,
        lists(table[own[_ITEM]].combine_chunks()),
        lists(pa.array(times_N, pa.timestamp("us"))) if is_timed else None,
        {name: lists(table[own[name]].combine_chunks()) for name in wanted.fields},
    )


def _columns(
    wanted: Reads,
    lengths_B: NDArray[np.int64],
    timestamps: Iterable[Any] | None,
    fields: Mapping[str, Iterable[Any]],
) -> dict[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    if timestamps is not None:
        found[TIMESTAMPS] = _times(timestamps, lengths_B)
    elif wanted.times_for is not None:
        raise UserError(f"this encoder reads when interactions were ({wanted.times_for}): give timestamps beside items")
    for name in wanted.columns:
        if name not in fields:
            raise UserError(
                f"this encoder reads the {name} of interactions (encoder.context): give fields={{{name!r}: [[…], …]}}"
            )
        found[name] = _field(name, fields[name], lengths_B)
    for name in wanted.profile:
        if name not in fields:
            raise UserError(
                f"this encoder reads the {name} of users (encoder.profile): give fields={{{name!r}: […]}}, one each"
            )
        found[stored_name(name)] = np.repeat(_attribute(name, fields[name], len(lengths_B)), lengths_B)
    if strangers := sorted(set(fields) - set(wanted.fields)):
        raise UserError(
            f"fields: {strangers[0]!r} is none of those that are read: {', '.join(wanted.fields) or 'none'}"
        )
    return found


def _times(given: Iterable[Any], lengths_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """The time of each interaction (us), `[N]`."""
    times = read_lists(given, pa.timestamp("us"), "times")
    if not np.array_equal(times.lengths_B, lengths_B):
        raise UserError("timestamps: each history wants as many times as it has items")
    times_N = microseconds_of(times.values_N)
    user_N = np.repeat(np.arange(len(lengths_B)), lengths_B)
    goes_back_N = (np.diff(times_N) < 0) & (np.diff(user_N) == 0)
    if goes_back_N.any():
        user = user_N[np.argmax(goes_back_N)]
        raise UserError(f"timestamps: those of user {user} go back in time: histories are given oldest first")
    return times_N


def _field(name: str, given: Iterable[Any], lengths_B: NDArray[np.int64]) -> NDArray[np.generic]:
    """Values as a corpus has them: numbers for a price, hashes of texts else."""
    kind = pa.float64() if name == PRICE else pa.string()
    lists = read_lists(given, kind, f"values of {name}")
    if not np.array_equal(lists.lengths_B, lengths_B):
        raise UserError(f"fields: each history wants as many values of {name!r} as it has items")
    try:
        return side_values(lists.values_N.cast(kind))
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"fields: {name!r} is {lists.values_N.type}, not {kind} ({reason})") from error


def _attribute(name: str, given: Iterable[Any], num_users: int) -> NDArray[np.int64]:
    """The values of an attribute of users as a corpus has them."""
    values_B = read_values(given, f"values of {name}")
    if len(values_B) != num_users:
        raise UserError(f"fields: {name!r} wants one value for each of the {num_users} users (given {len(values_B)})")
    return profile_hashes(values_B)


def _refuse_missing(table: pa.Table, own: Mapping[str, str], columns: Mapping[str, str], wanted: Reads) -> None:
    names = set(table.column_names)
    needed = {_USER, _ITEM, *wanted.fields, *columns, *([_TIME] if wanted.times_for else [])}
    for name in sorted(needed):
        if name not in own:
            raise UserError(f"columns: {name!r} is nothing that this encoder reads; it reads {', '.join(own)}")
        if own[name] not in names:
            raise UserError(
                f"the table has no column {own[name]!r} for {name}; its columns are {', '.join(table.column_names)}: "
                f'map them, as in columns={{"{name}": "COLUMN"}}'
            )
