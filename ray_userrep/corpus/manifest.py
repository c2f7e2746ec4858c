"""A corpus version: a small JSON manifest over immutable files, published in one atomic step.

    <corpus>/manifests/000001.json        created with a conditional put: there is one winner
    <corpus>/data/<build>/items.parquet   one row an item, in index order
                          users.parquet   attributes, where the log has them
                          sequences/bucket=00000/part-0.parquet   one row a user, sorted by user_id
                          quarantine/*.parquet                    rejected rows with their reasons

Readers take the newest manifest; a build that died before publishing leaves files that no manifest names.
"""

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1


class SequenceFile(BaseModel):
    """One sequence file of one bucket; paths are relative to the corpus."""

    model_config = ConfigDict(extra="forbid")
    bucket: int
    path: str
    num_users: int
    num_interactions: int


class Manifest(BaseModel):
    """What a corpus version holds and where it came from."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    version: int
    created: str
    source_uri: str
    reader: str
    source_fingerprint: str  # of the logs config and the source files' names and sizes
    content_fingerprint: str  # of users, items, order and times: two corpora that share it compare
    num_buckets: int
    num_users: int
    num_items: int
    num_interactions: int
    num_ties: int  # interactions that share user and timestamp with the one before
    num_duplicates: int  # interactions equal to the one before in user, item and timestamp
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
