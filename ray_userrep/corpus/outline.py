"""Who is in a file of sequences, and how much of which day: a small file beside each; planning reads no sequences.

Interactions are counted by day, as splits in time cut at midnights: a few bytes a user and day, of which any such split
and any that goes by lengths or by users knows what it trains on. One that goes by items has to read them.

Shapes: R users of all files of a bucket, U of them together, N interactions, D days of users.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.checked import read_checked
from ray_userrep.corpus.jagged import ranges, ranked
from ray_userrep.corpus.manifest import SequenceFile

_DAY_US = 86_400_000_000


class Outline(NamedTuple):
    """Users by rising id with the midnights (us) before their interactions, end to end, in no order inside a user.

    There are no midnights where days were not asked for.
    """

    user_ids: pa.Array
    user_hash_U: NDArray[np.int64]
    lengths_U: NDArray[np.int64]
    midnights_N: NDArray[np.int64]


class Checksums(TypedDict):
    """Those of a file of sequences and of its outline, as a manifest has them."""

    checksum: str
    outline: str


def write_sequences(uri: str, path: str, sequences: pa.Table, dictionary: bool | list[str] = True) -> Checksums:
    """Write sequences to a path below a URI, and their outline beside them; `dictionary` is that of `write_parquet`."""
    checksum = storage.write_parquet(storage.join(uri, path), sequences, dictionary)
    outline = storage.write_parquet(storage.join(uri, outline_path(path)), _outlined(sequences))
    return {"checksum": checksum, "outline": outline}


def outline_path(path: str) -> str:
    """Where the outline of a file of sequences is."""
    folder, name = path.rsplit("/", 1)
    return f"{folder}/_{name.removesuffix('.parquet')}.outline"  # not among the folder's Parquet


def read_outline(uri: str, files: Sequence[SequenceFile], days: bool = True) -> Outline:
    """What the outlines of a bucket's files below a URI tell of its users; days cost more than the rest.

    Raises:
        UserError: one is not what was written.
    """
    columns = ["user_id", "user_hash", "counts", *(["days"] if days else [])]
    tables = [read_checked(storage.join(uri, outline_path(file.path)), file.outline, columns) for file in files]
    rows = pa.concat_tables(tables).combine_chunks()
    users = rows["user_id"].combine_chunks()
    # One file has each user once, in order.
    ids, rank_R = ranked(users) if len(files) > 1 else (users, np.arange(len(users)))
    counts = rows["counts"].combine_chunks()
    until_D1 = np.append(0, np.cumsum(counts.values.to_numpy(), dtype=np.int64))
    lengths_R = np.diff(until_D1[counts.offsets.to_numpy()])
    hash_U = np.empty(len(ids), np.int64)
    hash_U[rank_R] = rows["user_hash"].to_numpy()
    lengths_U = np.bincount(rank_R, lengths_R, minlength=len(ids)).astype(np.int64)
    return Outline(ids, hash_U, lengths_U, _midnights(rows, rank_R) if days else np.zeros(0, np.int64))


def _midnights(rows: pa.Table, rank_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every interaction, users by their ranks, `[N]`."""
    days, counts_D = rows["days"].combine_chunks(), rows["counts"].combine_chunks().flatten().to_numpy()
    num_days_R = days.value_lengths().to_numpy()
    by_user_R = np.argsort(rank_R, kind="stable")
    first_R = np.cumsum(num_days_R) - num_days_R
    place_D = ranges(first_R[by_user_R], num_days_R[by_user_R])
    midnights_D = days.flatten().to_numpy().astype(np.int64)[place_D] * _DAY_US
    return np.repeat(midnights_D, counts_D[place_D])


def _outlined(sequences: pa.Table) -> pa.Table:
    times = sequences["timestamps"].combine_chunks()
    day_N, offsets_U1 = times.values.to_numpy() // _DAY_US, times.offsets.to_numpy()
    is_new_N = np.append(True, day_N[1:] != day_N[:-1])[: len(day_N)]
    is_new_N[offsets_U1[:-1][offsets_U1[:-1] < len(day_N)]] = True
    first_D = np.flatnonzero(is_new_N)
    offsets = pa.array(np.searchsorted(first_D, offsets_U1).astype(np.int32))
    lists = {"days": day_N[first_D], "counts": np.diff(first_D, append=len(day_N))}
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(of, pa.int32())) for name, of in lists.items()}
    return pa.table({name: sequences[name] for name in ("user_id", "user_hash")} | columns)
