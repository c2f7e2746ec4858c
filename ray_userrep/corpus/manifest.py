"""A corpus version: a small JSON manifest over immutable files, published in one atomic step.

    <corpus>/manifests/000001.json        created with a conditional put: there is one winner
    <corpus>/data/<build>/items.parquet   one row an item, in index order
                          users.parquet   attributes, where the log has them
                          relations.parquet   two users a row, where the log has relations
                          sequences/bucket=00000/part-0.parquet   one row a user, sorted by user_id
                                                 _part-0.outline           how much of each user and day is in it
                          quarantine/*.parquet                    rejected rows with their reasons
                          sources.parquet                         the log's files that are in this version

An append adds files of its own for the users it has something of; a bucket is all its files merged, in the order in
which the manifest names them. Readers take the newest manifest; older ones stay readable, and a build that died before
publishing leaves files that no manifest names.

Files are held and written as columns and found by bucket, so that a million of them, of thousands of buckets and
hundreds of appends, open in seconds and take a hundred megabytes; as objects they would take ten times as much.

Every file has its checksum in the manifest, and the manifest one of its own: what was changed since is not read.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.numbers import Unread
from ray_userrep.recipe.logs import Order

SCHEMA_VERSION = 4
NO_TIMES = "the log has no times: interactions are in the order of the rows"
_CHECKSUM = "checksum"


class SequenceFile(BaseModel):
    """One sequence file of one bucket; paths are relative to the corpus."""

    model_config = ConfigDict(extra="forbid")
    bucket: int
    path: str
    num_users: int  # in this file: a user may be in several of a bucket
    num_interactions: int
    checksum: str | None = None  # of the whole file
    outline: str | None = None  # checksum of the outline beside it


_COLUMNS = pa.schema(
    [
        ("bucket", pa.int64()),
        ("path", pa.string()),
        ("num_users", pa.int64()),
        ("num_interactions", pa.int64()),
        ("checksum", pa.string()),
        ("outline", pa.string()),
    ]
)


class SequenceFiles:
    """All sequence files of a version, in its order."""

    def __init__(self, columns: pa.Table) -> None:
        self._columns = columns

    @classmethod
    def of(cls, files: "SequenceFiles | dict[str, list[Any]] | Iterable[SequenceFile]") -> "SequenceFiles":
        """Themselves, their columns as they are written, or one by one."""
        if isinstance(files, SequenceFiles):
            return files
        if not isinstance(files, dict):
            rows = [SequenceFile.model_validate(file) for file in files]
            files = {name: [getattr(row, name) for row in rows] for name in _COLUMNS.names}
        return cls(pa.table(files, _COLUMNS))

    def __len__(self) -> int:
        return int(self._columns.num_rows)

    def __getitem__(self, place: int) -> SequenceFile:
        return self._read(self._columns.slice(range(len(self))[place], 1))[0]

    def __iter__(self) -> Iterator[SequenceFile]:
        for first in range(0, len(self), _FILES_AT_ONCE):
            yield from self._read(self._columns.slice(first, _FILES_AT_ONCE))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceFiles) and self._columns.equals(other._columns)

    def __add__(self, more: Iterable[SequenceFile]) -> "SequenceFiles":
        added = [columns for columns in (self._columns, SequenceFiles.of(more)._columns) if columns.num_rows]
        return SequenceFiles(pa.concat_tables(added).combine_chunks() if added else self._columns)

    def of_bucket(self, number: int) -> list[SequenceFile]:
        """The files of a bucket, in their order."""
        order, sorted_F = self._by_bucket
        low, high = np.searchsorted(sorted_F, [number, number + 1])
        return self._read(self._columns.take(pa.array(order[low:high])))

    def buckets(self) -> list[int]:
        """The buckets that have files, rising."""
        found: list[int] = np.unique(self._by_bucket[1]).tolist()
        return found

    def without(self, others: "SequenceFiles") -> "SequenceFiles":
        """Those that are not among others."""
        is_there = pc.is_in(self._columns["path"], value_set=others._columns["path"].combine_chunks())
        return SequenceFiles(self._columns.filter(pc.invert(is_there)))

    def written(self) -> dict[str, list[Any]]:
        """Their columns, as a manifest has them."""
        columns: dict[str, list[Any]] = self._columns.to_pydict()
        return columns

    @cached_property
    def _by_bucket(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        bucket_F = self._columns["bucket"].to_numpy()
        order = np.argsort(bucket_F, kind="stable")
        return order, bucket_F[order]

    def _read(self, rows: pa.Table) -> list[SequenceFile]:
        return [SequenceFile(**row) for row in rows.to_pylist()]


def _files_of(found: Any) -> SequenceFiles:
    try:
        return SequenceFiles.of(found)
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise ValueError(f"no columns of files: {error}") from error


_FILES_AT_ONCE = 10_000
_Files = Annotated[
    SequenceFiles, PlainValidator(_files_of), PlainSerializer(lambda files: SequenceFiles.of(files).written())
]


class Manifest(BaseModel):
    """What a corpus version holds and where it came from."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    schema_version: int = SCHEMA_VERSION
    version: int
    parent: int | None = None  # the version that this one was appended to, or compacted from
    created: str
    source_uri: str
    reader: str
    source_fingerprint: str  # of the logs config and the source files' names, sizes and stamps
    sources: str  # the log's files by name, size and stamp: an append leaves them out
    content_fingerprint: str  # of users, items, order and times: two corpora that share it compare; appends add to it
    num_buckets: int
    num_users: int
    num_items: int
    num_interactions: int
    num_ties: int  # interactions that share user and timestamp with the one before
    num_duplicates: int  # interactions equal to an earlier one in user, item and timestamp
    max_user_interactions: int | None = None  # the newest of a user that were kept
    num_capped: int = 0  # older ones that were left out; quarantined and days count the log as it is
    k_core: dict[str, int] = {"users": 1, "items": 1}  # the least interactions of those that were kept
    removed_by_k_core: dict[str, int] = {}  # users, items, interactions, and in how many rounds of counting
    quarantined: dict[str, int]  # reason -> rows
    unread: dict[str, Unread] = {}  # column -> values that were given and are no numbers; their rows are kept
    order: Order = "time"  # row: the times only say the order, as of a log that has none
    interactions_per_day: dict[str, int]  # ISO date -> interactions; empty where the order is that of the rows
    users_per_length: dict[int, int]  # interactions of a user -> users who have so many
    domains: dict[str, int] = {}  # domain -> interactions, the empty name for none; empty where the log has no domains
    side_columns: list[str]  # aligned list columns of the sequences beside items and timestamps
    items: str
    users: str | None
    relations: str | None = None
    num_relations: int = 0
    dropped_relations: dict[str, int] = {}  # reason -> rows of the log's table of relations that were left out
    quarantine: list[str]
    sequences: _Files
    checksums: dict[str, str] = {}  # path -> of the whole file; sequences have theirs beside them
    peak_bytes: dict[str, int] = {}  # stage of the preparation -> the most memory that one of its tasks took

    def require_times(self, reader: str | None) -> None:
        """Check that the log has times where something reads them; `reader` is its field, None where nothing does.

        Raises:
            UserError: it has none.
        """
        if reader is not None and self.order == "row":
            raise UserError(
                f"{reader} reads times, and the log {self.source_uri} has only the order of its rows (logs.order row): "
                f"do without {reader}"
            )

    def with_checksums(self, more: dict[str, str]) -> "Manifest":
        """The same with the checksums of the files that it names, out of its own and these."""
        known = self.checksums | more
        return self.model_copy(update={"checksums": {path: known[path] for path in self.tables() if path in known}})

    def tables(self) -> list[str]:
        """The paths of all that a version reads beside sequences."""
        named = (self.sources, self.items, self.users, self.relations, *self.quarantine)
        return [path for path in named if path]


def encoded(manifest: Manifest) -> bytes:
    """What a manifest's file holds."""
    raw = manifest.model_dump(mode="json")
    return json.dumps(raw | {_CHECKSUM: _checksum(raw)}, indent=2).encode()


def decoded(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a manifest's file; None where they are not what was written."""
    fields = {name: value for name, value in raw.items() if name != _CHECKSUM}
    return fields if raw.get(_CHECKSUM, _checksum(fields)) == _checksum(fields) else None


def _checksum(fields: dict[str, Any]) -> str:
    return storage.checksum(json.dumps(fields, sort_keys=True).encode())
