"""Reading a corpus: the newest manifest, the item table, and buckets decoded to flat arrays.

A bucket is decoded whole: that costs its size in memory once and makes every later gather plain index arithmetic. The
files that appends have left in it are merged at each reading, until the corpus is compacted.

Shapes: U users of a bucket, N their interactions.
"""

import re
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from ray_userrep import storage
from ray_userrep.corpus.checked import read_checked, verify
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.jagged import KEYS, completed, merge_sequences, ranges
from ray_userrep.corpus.manifest import SCHEMA_VERSION, Manifest, SequenceFile, decoded, encoded
from ray_userrep.corpus.outline import read_outline
from ray_userrep.corpus.profiles import attributes_of, profiles_of, refuse_unprofiled, stored_name
from ray_userrep.errors import UserError

_CURE = "put back a copy that is whole, or delete it to go on with the version before"
_NAME = re.compile(r"(\d{6,})\.json")


class Bucket(NamedTuple):
    """The users of one hash bucket, in the order of their ids, their interactions in the order of (timestamp, row)."""

    user_ids: pa.Array
    user_hash_U: NDArray[np.int64]
    offsets_U1: NDArray[np.int64]
    items_N: NDArray[np.int64]
    timestamps_N: NDArray[np.int64]
    side_N: dict[str, NDArray[np.generic]]  # codes of text columns (0 for none), values of numeric ones (NaN for none)

    @property
    def num_users(self) -> int:
        return len(self.user_hash_U)

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        return np.diff(self.offsets_U1)

    def counts(self, mask_N: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of each user's interactions are marked, `[U]`."""
        return np.diff(np.concatenate([[0], np.cumsum(mask_N)])[self.offsets_U1])

    def heads(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Bucket":
        """The first interactions of the given users, so many of each."""
        users = Bucket(self.user_ids.take(pa.array(rows)), self.user_hash_U[rows], *self[2:])
        return users._keep(ranges(self.offsets_U1[rows], lengths), lengths)

    def filter(self, mask_N: NDArray[np.bool_]) -> "Bucket":
        """The marked interactions; every user stays."""
        return self._keep(np.flatnonzero(mask_N), self.counts(mask_N))

    def _keep(self, places: NDArray[np.int64], lengths_U: NDArray[np.int64]) -> "Bucket":
        return self._replace(
            offsets_U1=np.concatenate([[0], np.cumsum(lengths_U)]),
            items_N=self.items_N[places],
            timestamps_N=self.timestamps_N[places],
            side_N={name: column_N[places] for name, column_N in self.side_N.items()},
        )

    def refuse_disorder(self, place: str) -> None:
        """Check that every user's interactions are in the order of their times, on which all else rests.

        Raises:
            UserError: they are not; the message names the place and the first such user.
        """
        is_earlier_N = self.timestamps_N[1:] < self.timestamps_N[:-1]
        starts = self.offsets_U1[1:-1]  # where a user ends and the next one begins, time may go back
        is_earlier_N[starts[(starts > 0) & (starts < len(self.timestamps_N))] - 1] = False
        if is_earlier_N.any():
            user = int(np.searchsorted(self.offsets_U1, np.argmax(is_earlier_N), side="right")) - 1
            raise UserError(
                f"{place}: interactions of user {self.user_ids[user]} are not in the order of (timestamp, row): "
                "the files were changed or written by something else; prepare the log again into another corpus"
            )


class Corpus:
    """An opened corpus version."""

    def __init__(self, uri: str, manifest: Manifest) -> None:
        self.uri = uri
        self.manifest = manifest

    def items(self) -> ItemTable:
        """The vocabulary with its columns."""
        return ItemTable(self.read(self.manifest.items))

    def item_columns(self) -> list[str]:
        """What the vocabulary says of an item; none of its rows is read."""
        return list(storage.read_schema(storage.join(self.uri, self.manifest.items)).names)

    def users(self) -> pa.Table | None:
        """User attributes, where the log has them."""
        path = self.manifest.users
        return None if path is None else self.read(path)

    def relations(self) -> pa.Table | None:
        """Who is related to whom, `user_id` and `other_id`, and perhaps the `kind`, where the log says so."""
        path = self.manifest.relations
        return None if path is None else self.read(path)

    def read(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """A file of this version, or some of its columns.

        Raises:
            UserError: it is not what was written.
        """
        return read_checked(storage.join(self.uri, path), self.manifest.checksums.get(path), columns)

    def verified(self, path: str) -> str:
        """Where a file of this version is, which was read through for being what was written.

        Raises:
            UserError: it is not.
        """
        place = storage.join(self.uri, path)
        verify(place, self.manifest.checksums.get(path))
        return place

    def user_columns(self) -> list[str]:
        """What the log has of users beside their interactions, `user_id` with it; none where it has no such table."""
        path = self.manifest.users
        return [] if path is None else list(storage.read_schema(storage.join(self.uri, path)).names)

    def users_of(self, hashes_U: NDArray[np.int64]) -> pa.Table:
        """The attributes of the users with these hashes, where the log has a table of them; read in batches."""
        assert self.manifest.users is not None, "the columns were looked at before"
        place = self.verified(self.manifest.users)
        return storage.filter_parquet(place, lambda rows: pa.array(np.isin(hash_ids(rows["user_id"]), hashes_U)))

    def bucket(self, number: int, side: Sequence[str] = ()) -> Bucket:
        """One bucket, decoded, with the side columns that are wanted and there, and attributes of users beside them.

        Raises:
            UserError: a user's interactions are not in order, or the log knows no such attribute.
        """
        wanted = [name for name in side if name in self.manifest.side_columns]
        sequences = self.sequences(number, wanted)
        bucket = self._without_users() if sequences is None else _decode(sequences, wanted)
        bucket.refuse_disorder(f"corpus {self.uri} version {self.manifest.version}, bucket {number}")
        return self._profiled(bucket, attributes_of(side))

    def _profiled(self, bucket: Bucket, names: Sequence[str]) -> Bucket:
        if not names:
            return bucket
        refuse_unprofiled(names, self.user_columns(), self.manifest.source_uri)
        told = profiles_of(self.users_of(bucket.user_hash_U), names, bucket.user_hash_U)
        side_N = {stored_name(name): np.repeat(told_U, bucket.lengths_U) for name, told_U in told.items()}
        return bucket._replace(side_N=bucket.side_N | side_N)

    def outline(self, number: int, days: bool = True) -> Bucket:
        """A bucket's users without their items, each interaction at the midnight before it; no sequence is read.

        Where days are not wanted, there are no times either.
        """
        files = self.files(number)
        if not files:
            return self._without_users()
        ids, hash_U, lengths_U, midnights_N = read_outline(self.uri, files, days)
        return Bucket(ids, hash_U, np.append(0, np.cumsum(lengths_U)), np.zeros(0, np.int64), midnights_N, {})

    def sequences(self, number: int, side: Sequence[str] = ()) -> pa.Table | None:
        """One row a user of a bucket, as stored, from all its files; None for a bucket without users."""
        files = self.files(number)
        columns = [*KEYS, *side]
        tables = [self.stored(file, columns) for file in files]
        return merge_sequences([completed(table, side) for table in tables]) if tables else None

    def stored(self, file: SequenceFile, columns: list[str]) -> pa.Table:
        """Columns of a file of sequences.

        Raises:
            UserError: it is not what was written.
        """
        return read_checked(storage.join(self.uri, file.path), file.checksum, columns)

    def files(self, number: int) -> list[SequenceFile]:
        """The files of a bucket, the base first."""
        return self.manifest.sequences.of_bucket(number)

    def buckets(self) -> range:
        return range(self.manifest.num_buckets)

    @cached_property
    def user_type(self) -> pa.DataType:
        """What the log's user ids are: int64 or text."""
        return storage.read_schema(storage.join(self.uri, self.manifest.sequences[0].path)).field("user_id").type

    def _without_users(self) -> Bucket:
        none = np.zeros(0, np.int64)
        return Bucket(pa.array([], self.user_type), none, np.zeros(1, np.int64), none, none, {})


def open_corpus(uri: str, version: int | None = None) -> Corpus:
    """Open the newest version, or the one asked for.

    Raises:
        UserError: there is no corpus, no such version, its manifest is not what was written, or it is of another
            schema version.
    """
    uri = storage.absolute(uri)
    wanted = newest_version(uri) if version is None else version
    if wanted is None:
        raise UserError(f"no corpus at {uri}: prepare one with jobs/prepare.py --logs URI --corpus {uri}")
    raw = read_manifest(uri, wanted)
    storage.refuse_newer(raw.get("schema_version"), SCHEMA_VERSION, f"corpus {uri}")
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"corpus {uri} has schema {raw.get('schema_version')}, this is {SCHEMA_VERSION}: prepare it again"
        )
    return Corpus(uri, manifest_of(raw, manifest_uri(uri, wanted)))


def read_manifest(uri: str, version: int) -> dict[str, Any]:
    """The fields of the manifest of a version, which may be of another schema.

    Raises:
        UserError: it is missing, or not what was written.
    """
    place = manifest_uri(uri, version)
    fields = decoded(storage.read_object(place))
    if fields is None:
        raise UserError(f"{place} was changed after it was written: {_CURE}")
    return fields


def manifest_of(fields: dict[str, Any], place: str) -> Manifest:
    """The manifest of these fields.

    Raises:
        UserError: they are not those of a manifest; the message names the place.
    """
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(f"{place} is no manifest of a corpus ({name}: {first['msg']}): {_CURE}") from error


def newest_version(uri: str) -> int | None:
    """The highest published version number, None where there is none."""
    return max(versions(uri), default=None)


def versions(uri: str) -> list[int]:
    """The published version numbers, rising."""
    folder = storage.join(uri, "manifests")
    if not storage.exists(folder):
        return []
    names = [entry.uri.removeprefix(folder).strip("/") for entry in storage.list_files(folder)]
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def manifest_uri(uri: str, version: int) -> str:
    """Where the manifest of a corpus's version is, or will be."""
    return storage.join(uri, "manifests", f"{version:06d}.json")


def publish(uri: str, manifest: Manifest) -> bool:
    """Publish a version under its own number; False where another has taken the number."""
    place = manifest_uri(uri, manifest.version)
    try:
        storage.create_exclusive(place, encoded(manifest))
    except FileExistsError:
        # A request that was repeated after a lost answer finds its own manifest there.
        return bool(read_manifest(uri, manifest.version).get("sequences") == manifest.model_dump()["sequences"])
    return True


def publish_built(corpus: Corpus, build: Callable[[str], Manifest]) -> Manifest | None:
    """Publish the version that `build` writes below a folder of its own; None where another has taken the number.

    Nothing is left of what is not published. The corpus's own manifest says that nothing changes, and is returned.
    """
    folder = f"data/{uuid.uuid4().hex[:12]}"
    try:
        manifest = build(folder)
    except BaseException:
        storage.delete(storage.join(corpus.uri, folder))
        raise
    if manifest is corpus.manifest or publish(corpus.uri, manifest):
        return manifest
    storage.delete(storage.join(corpus.uri, folder))
    return None


def _decode(table: pa.Table, side: Sequence[str]) -> Bucket:
    items = table.column("items").combine_chunks()
    timestamps = table.column("timestamps").combine_chunks()
    return Bucket(
        user_ids=table.column("user_id").combine_chunks(),
        user_hash_U=table.column("user_hash").to_numpy(),
        offsets_U1=items.offsets.to_numpy().astype(np.int64),
        items_N=items.values.to_numpy(),
        timestamps_N=timestamps.values.to_numpy(),
        side_N={name: side_values(table.column(name).combine_chunks().values) for name in side},
    )


def side_values(values: pa.Array) -> NDArray[np.generic]:
    """A side column as batches have it: numbers, or hashes of texts; NaN and 0 where there is none."""
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    known = ~values.is_null().to_numpy(zero_copy_only=False)
    return np.where(known, hash_ids(values.cast(pa.string()).fill_null("")), 0)
