"""A corpus version: a small JSON manifest over immutable files, published in one atomic step.

    <corpus>/manifests/000001.json        created with a conditional put: there is one winner
    <corpus>/data/<build>/items.parquet   one row an item, in index order
                          users.parquet   attributes, where the log has them
                          sequences/bucket=00000/part-0.parquet   one row a user, sorted by user_id
                          quarantine/*.parquet                    rejected rows with their reasons
                          sources.parquet                         the log's files that are in this version

An append adds files of its own for the users it has something of; a bucket is all its files merged, in the order in
which the manifest names them. Readers take the newest manifest; older ones stay readable, and a build that died before
publishing leaves files that no manifest names.

Every file has its checksum in the manifest, and the manifest one of its own: what was changed since is not read.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from ray_userrep import storage

SCHEMA_VERSION = 2
_CHECKSUM = "checksum"


class SequenceFile(BaseModel):
    """One sequence file of one bucket; paths are relative to the corpus."""

    model_config = ConfigDict(extra="forbid")
    bucket: int
    path: str
    num_users: int  # in this file: a user may be in several of a bucket
    num_interactions: int


class Manifest(BaseModel):
    """What a corpus version holds and where it came from."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    version: int
    parent: int | None = None  # the version that this one was appended to, or compacted from
    created: str
    source_uri: str
    reader: str
    source_fingerprint: str  # of the logs config and the source files' names and sizes
    sources: str  # the log's files by name and size: an append leaves them out
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
    interactions_per_day: dict[str, int]  # ISO date -> interactions
    domains: dict[str, int] = {}  # domain -> interactions, the empty name for none; empty where the log has no domains
    side_columns: list[str]  # aligned list columns of the sequences beside items and timestamps
    items: str
    users: str | None
    quarantine: list[str]
    sequences: list[SequenceFile]
    checksums: dict[str, str] = {}  # path -> of the whole file
    peak_bytes: dict[str, int] = {}  # stage of the preparation -> the most memory that one of its tasks took

    def paths(self) -> list[str]:
        """The files that it names."""
        alone = [path for path in (self.sources, self.items, self.users) if path]
        return [*alone, *self.quarantine, *(file.path for file in self.sequences)]

    def with_checksums(self, more: dict[str, str]) -> "Manifest":
        """The same with the checksums of the files that it names, out of its own and these."""
        known = self.checksums | more
        return self.model_copy(update={"checksums": {path: known[path] for path in self.paths() if path in known}})


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
