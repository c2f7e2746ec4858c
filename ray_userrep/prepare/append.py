"""New files of a log into a corpus: what they hold is prepared as any log is, and grafted onto the newest version.

Only what is new is written, and of what was there only the users are read, and the interactions where the new ones are
not all of later days. The price is paid by readers: a bucket that was appended to often is many files to merge, until
the corpus is compacted. Items keep their indices, new ones come after them, so that indices no longer go by count.
"""

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.jagged import KEYS, merge_sequences
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, open_corpus, publish_built
from ray_userrep.corpus.summary import frequencies
from ray_userrep.errors import UserError
from ray_userrep.logs.numbers import joined
from ray_userrep.logs.source import Logs, open_logs, unknown_files
from ray_userrep.logs.tasks import results, shared
from ray_userrep.prepare.prepare import build_version
from ray_userrep.prepare.sequences import sequence_counts, summed_lengths
from ray_userrep.prepare.side_tables import grow_items, grow_relations, grow_users, read_sources, write_sources
from ray_userrep.prepare.stages import Build, plain_errors
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig

_ATTEMPTS = 3


def append(logs: LogsConfig, config: CorpusConfig, uri: str) -> Manifest:
    """Publish a version with the files of a log that the newest one has not; that one is returned where there are none.

    The number of buckets is the corpus's own.

    Raises:
        UserError: a file changed after it was prepared, nothing of the new ones can be used, their ids are of another
            type, the corpus is a k-core, or others kept publishing versions meanwhile.
    """
    uri = storage.absolute(uri)
    for _ in range(_ATTEMPTS):
        corpus = open_corpus(uri)
        if corpus.manifest.removed_by_k_core:
            raise UserError(f"{uri} is a k-core, which new interactions change: prepare the whole log again")
        known = read_sources(corpus)
        if not unknown_files(logs, known):
            print(f"append    {uri} has every file of the log (version {corpus.manifest.version})", flush=True)
            return corpus.manifest
        published = graft(corpus, open_logs(logs, known), config)
        if published is not None:
            return published
        print(f"append    {uri} got another version meanwhile: once more", flush=True)
    raise UserError(f"{uri} got a new version {_ATTEMPTS} times while this one was made: append when nobody else does")


def graft(corpus: Corpus, logs: Logs, config: CorpusConfig) -> Manifest | None:
    """Publish a corpus version with a log's interactions added; None, leaving nothing, where another came first."""
    return publish_built(corpus, lambda build: _build(corpus, logs, config, build))


def _build(corpus: Corpus, logs: Logs, config: CorpusConfig, build: str) -> Manifest:
    """Write the files of the next version below the build folder; returns its manifest."""
    layout = config.model_copy(update={"num_buckets": corpus.manifest.num_buckets})
    # New files may well be of items that no table tells of yet.
    logs = logs._replace(max_unmatched_share=1.0)
    delta = build_version(logs, layout, corpus.uri, Build(corpus.uri, f"{build}/delta"))
    began = time.perf_counter()
    _require_same_ids(corpus, delta)
    _require_same_order(corpus, delta)
    later = delta.order == "time" and min(delta.interactions_per_day) > max(corpus.manifest.interactions_per_day)
    there = shared(corpus)
    with plain_errors():
        ((items, added_V),) = results([(_grow_items, there, delta, logs.items, build)])
        index = shared(added_V)
        grafts = [(_graft_bucket, there, file, index, build, later) for file in delta.sequences]
        beside = [(task, there, delta, table, build) for task, table in _beside(logs)]
        (users, _), (relations, told), *added = results([*beside, *grafts])
    sources, checksum = _write_sources(corpus, logs, build)
    manifest = _manifest(corpus, delta, logs, added, items).model_copy(
        update={"users": next(iter(users), corpus.manifest.users), "sources": sources, **told}
    )
    written = {items["items"]: items["checksum"], sources: checksum}
    manifest = manifest.with_checksums(delta.checksums | written | users | relations)
    for name in ("sequences", "staging", "items.parquet", "users.parquet", "relations.parquet", "sources.parquet"):
        storage.delete(storage.join(corpus.uri, build, "delta", name))  # what stays is the quarantine
    told = f"{manifest.num_users:,} users, {manifest.num_items:,} items, {manifest.num_interactions:,} interactions"
    print(f"append    {'merged':12s} {time.perf_counter() - began:6.1f} s  {told}", flush=True)
    return manifest


def _require_same_ids(corpus: Corpus, delta: Manifest) -> None:
    """Refuse new files whose ids are of another type than the corpus's."""
    for name, paths in {
        "item_id": (corpus.manifest.items, delta.items),
        "user_id": (corpus.manifest.sequences[0].path, delta.sequences[0].path),
    }.items():
        ours, theirs = _type(corpus.verified(paths[0]), name), _type(storage.join(corpus.uri, paths[1]), name)
        if ours != theirs:
            raise UserError(
                f"{name} is {theirs} in the new files, {ours} in {corpus.uri}: write them alike, or prepare the whole "
                "log again with logs.ids string, and append with it"
            )


def _require_same_order(corpus: Corpus, delta: Manifest) -> None:
    ours, theirs = corpus.manifest.order, delta.order
    if ours != theirs:
        raise UserError(
            f"the new files are in the order of {theirs}, those of {corpus.uri} in the order of {ours}: append with "
            f"logs.order {ours}"
        )


def _type(uri: str, column: str) -> pa.DataType:
    return storage.read_schema(uri).field(column).type


def _grow_items(
    corpus: Corpus, delta: Manifest, described: pa.Table | None, build: str
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Write the grown item table; how many items there are, a digest of the new ones, and the index of each added."""
    base, added = corpus.items().table, storage.read_parquet(storage.join(corpus.uri, delta.items))
    items = grow_items(base, added, described)
    path = f"{build}/items.parquet"
    checksum = storage.write_parquet(storage.join(corpus.uri, path), items)
    index = pc.index_in(added["item_id"], value_set=items["item_id"].combine_chunks()).to_numpy().astype(np.int64)
    digest = hashlib.sha256(hash_ids(items["item_id"][base.num_rows :]).data).hexdigest()
    return {"items": path, "num_items": items.num_rows, "digest": digest, "checksum": checksum}, index


_Grown = tuple[dict[str, str], dict[str, Any]]  # a file with its checksum, and what the manifest says of it


def _beside(logs: Logs) -> list[tuple[Any, pa.Table | None]]:
    """The tasks that grow what is known of users, each with the log's own table."""
    return [(_grow_users, logs.users), (_grow_relations, logs.relations)]


def _grow_users(corpus: Corpus, delta: Manifest, described: pa.Table | None, build: str) -> _Grown:
    """Write the grown user table where there is news of users."""
    if described is None:
        return {}, {}
    path = f"{build}/users.parquet"
    users = grow_users(corpus.users(), described, _user_ids(corpus, delta))
    return {path: storage.write_parquet(storage.join(corpus.uri, path), users)}, {}


def _grow_relations(corpus: Corpus, delta: Manifest, described: pa.Table | None, build: str) -> _Grown:
    """Write the grown table of relations where there is news of them."""
    if described is None:
        return {}, {}
    path = f"{build}/relations.parquet"
    kept, dropped = grow_relations(corpus.relations(), described, _user_ids(corpus, delta))
    told = {"relations": path, "num_relations": kept.num_rows, "dropped_relations": dropped}
    return {path: storage.write_parquet(storage.join(corpus.uri, path), kept)}, told


def _user_ids(corpus: Corpus, delta: Manifest) -> pa.ChunkedArray:
    """The users of a corpus and of what is added to it."""
    versions = (corpus, Corpus(corpus.uri, delta))
    ids = [one.read(file.path, ["user_id"])["user_id"] for one in versions for file in one.manifest.sequences]
    return pa.chunked_array([chunk for one in ids for chunk in one.chunks])


def _graft_bucket(
    corpus: Corpus, file: SequenceFile, index: NDArray[np.int64], build: str, later: bool
) -> dict[str, Any]:
    """Write a bucket's new sequences with the corpus's item indices; returns what they add to its counts.

    Where all of them are `later` than what was there, no tie can be with it.
    """
    sequences = _renumbered(storage.read_parquet(storage.join(corpus.uri, file.path)), index)
    before = None if later else corpus.sequences(file.bucket)
    if before is not None and corpus.manifest.order == "row":
        sequences = _after(before, sequences)
    path = f"{build}/sequences/bucket={file.bucket:05d}/part-0.parquet"
    update = {"path": path, **write_sequences(corpus.uri, path, sequences)}
    added = sequence_counts(sequences) | {"file": file.model_copy(update=update)}
    known = corpus.outline(file.bucket, days=False)
    place_U = pc.fill_null(pc.index_in(sequences["user_id"].combine_chunks(), value_set=known.user_ids), -1).to_numpy()
    had_U, is_known_U = np.append(known.lengths_U, 0)[place_U], place_U >= 0  # the last is that of new users
    has_U = had_U + sequences["items"].combine_chunks().value_lengths().to_numpy()
    lost = {length: -users for length, users in frequencies(had_U[is_known_U]).items()}
    added |= {
        "num_users": int((~is_known_U).sum()),
        "users_per_length": summed_lengths([frequencies(has_U), lost]),
    }
    if before is not None:
        both, alone = (sequence_counts(part) for part in (merge_sequences([before, sequences.select(KEYS)]), before))
        added |= {name: both[name] - alone[name] for name in ("num_ties", "num_duplicates")}
    return added


def _renumbered(sequences: pa.Table, index: NDArray[np.int64]) -> pa.Table:
    items = sequences["items"].combine_chunks()
    lists = pa.ListArray.from_arrays(items.offsets, pa.array(index[items.values.to_numpy()]))
    return sequences.set_column(sequences.column_names.index("items"), "items", lists)


def _after(before: pa.Table, sequences: pa.Table) -> pa.Table:
    """Sequences of which the times only say the order, put after others."""
    times = sequences["timestamps"].combine_chunks()
    newest = pc.max(before["timestamps"].combine_chunks().values)
    lists = pa.ListArray.from_arrays(times.offsets, pc.add(times.values, pc.add(newest, 1)))
    return sequences.set_column(sequences.column_names.index("timestamps"), "timestamps", lists)


def _write_sources(corpus: Corpus, logs: Logs, build: str) -> tuple[str, str]:
    known = read_sources(corpus)
    return write_sources((known | {file.uri: file for file in logs.files}).values(), corpus.uri, build)


def _manifest(
    corpus: Corpus, delta: Manifest, logs: Logs, added: list[dict[str, Any]], grown: dict[str, Any]
) -> Manifest:
    base = corpus.manifest
    contents = [base.content_fingerprint, grown["digest"], *(one["content"] for one in added)]
    return base.model_copy(
        update={
            "version": base.version + 1,
            "parent": base.version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "source_fingerprint": _source_fingerprint(corpus, logs),
            "content_fingerprint": _digest(contents),
            "num_items": grown["num_items"],
            "num_interactions": base.num_interactions + delta.num_interactions,
            **{
                name: getattr(base, name) + sum(one[name] for one in added)
                for name in ("num_users", "num_ties", "num_duplicates")
            },
            "unread": joined([base.unread, delta.unread]),
            "quarantined": _summed(base.quarantined, delta.quarantined),
            "interactions_per_day": _summed(base.interactions_per_day, delta.interactions_per_day),
            "users_per_length": summed_lengths([base.users_per_length, *(one["users_per_length"] for one in added)]),
            "domains": _summed(base.domains, delta.domains),
            "num_capped": base.num_capped + delta.num_capped,
            "side_columns": list(dict.fromkeys([*base.side_columns, *delta.side_columns])),
            "items": grown["items"],
            "quarantine": [*base.quarantine, *delta.quarantine],
            "sequences": base.sequences + [one["file"] for one in added],
        }
    )


def _source_fingerprint(corpus: Corpus, logs: Logs) -> str:
    """That of the log where the corpus now holds all of it and nothing else, so that it counts as prepared."""
    base = corpus.manifest
    known = read_sources(corpus)
    whole = logs.uri == base.source_uri and known.keys() <= {file.uri for file in logs.files}
    return logs.fingerprint if whole else _digest([base.source_fingerprint, logs.fingerprint])


def _summed(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted(one.keys() | other.keys())}


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
