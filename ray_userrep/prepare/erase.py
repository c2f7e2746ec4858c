"""Users out of a corpus, as a new version: only the buckets that hold them are written anew.

What was counted of these users is taken out of all counts, of items too; an item that nobody else has stays in the
table with a count of 0, so that indices stay what encoders know. Of rejected rows without a user nobody can say whose
they were: they lose the text that was kept of them. Older versions hold the users until they are deleted, and the log
itself is not touched: an append of files in which they occur brings them back.

Shapes: U users, V items.
"""

import hashlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile, SequenceFiles
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, publish_built
from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import results, shared
from ray_userrep.prepare.sequences import sequence_counts, summed_lengths
from ray_userrep.prepare.stages import plain_errors

_COUNTED = ("num_users", "num_interactions", "num_ties", "num_duplicates")
_DAY_US = 86_400_000_000


def erase(corpus: Corpus, ids: pa.Array) -> Manifest:
    """Publish a version without these users; the newest one is returned where it knows nothing of them.

    Raises:
        UserError: nobody else is in the corpus, or somebody published another version meanwhile.
    """
    manifest = publish_built(corpus, lambda build: _build(corpus, ids, build))
    if manifest is None:
        version = corpus.manifest.version + 1
        raise UserError(f"{corpus.uri} got version {version} while users were erased: erase them again")
    return manifest


def _build(corpus: Corpus, ids: pa.Array, build: str) -> Manifest:
    """Write what the next version has of its own; its manifest, or that of the corpus where nothing changes."""
    base = corpus.manifest
    parts = _buckets(corpus, ids, build)
    lost = {name: sum(part["lost"][name] for part in parts) for name in _COUNTED}
    if lost["num_users"] == base.num_users:
        raise UserError(f"{corpus.uri} has no other users than these: delete the corpus itself")
    relations, num_relations = _relations(corpus, ids, build)
    tables = _users(corpus, ids, build) | relations | _quarantine(corpus, ids, build)
    if not parts and not tables:
        return base
    if parts:
        tables[base.items] = _items(corpus, parts, build)
    named = {old: path for old, (path, _) in tables.items()}
    rewritten = {part["bucket"] for part in parts}
    files = [file for file in base.sequences if file.bucket not in rewritten]
    files += [SequenceFile(**part["file"]) for part in parts if part["file"] is not None]
    reasons = _reasons(corpus.uri, [named.get(path, path) for path in base.quarantine])
    return base.model_copy(
        update={
            "version": base.version + 1,
            "parent": base.version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "content_fingerprint": _digest([base.content_fingerprint, *(part["content"] for part in parts)]),
            **{name: getattr(base, name) - lost[name] for name in _COUNTED},
            **{name: _less(getattr(base, name), parts, name) for name in ("interactions_per_day", "domains")},
            "users_per_length": summed_lengths([base.users_per_length, *(part["users_per_length"] for part in parts)]),
            "quarantined": reasons,
            "items": named.get(base.items, base.items),
            "users": None if base.users is None else named.get(base.users, base.users),
            "relations": None if base.relations is None else named.get(base.relations, base.relations),
            "num_relations": num_relations,
            "quarantine": [named.get(path, path) for path in base.quarantine],
            "sequences": SequenceFiles.of(sorted(files, key=lambda file: file.bucket)),
        }
    ).with_checksums(dict(tables.values()))


def _buckets(corpus: Corpus, ids: pa.Array, build: str) -> list[dict[str, Any]]:
    """Write the buckets that hold some of the users without them; what was lost of each."""
    bucket_U, there = bucket_of(hash_ids(ids), corpus.manifest.num_buckets), shared(corpus)
    with plain_errors():
        found = results(
            [
                (_rewrite, there, number, ids.filter(pa.array(bucket_U == number)), build)
                for number in np.unique(bucket_U).tolist()
            ]
        )
    return [part for part in found if part is not None]


def _rewrite(corpus: Corpus, number: int, ids: pa.Array, build: str) -> dict[str, Any] | None:
    """The one file of what is left of a bucket, and counts of what is not; None where it holds none of the users."""
    known = [corpus.stored(file, ["user_id"])["user_id"] for file in corpus.files(number)]
    if not any(pc.any(pc.is_in(users, value_set=ids)).as_py() for users in known):
        return None
    sequences = corpus.sequences(number, corpus.manifest.side_columns)
    assert sequences is not None, "it holds some of the users"
    is_gone = pc.is_in(sequences["user_id"], value_set=ids)
    gone, left = sequences.filter(is_gone), sequences.filter(pc.invert(is_gone))
    counts, lost, file = sequence_counts(left), sequence_counts(gone), None
    if left.num_rows:
        path = f"{build}/sequences/bucket={number:05d}/part-0.parquet"
        sizes = {name: counts[name] for name in ("num_users", "num_interactions")}
        file = {"bucket": number, "path": path, **sizes, **write_sequences(corpus.uri, path, left)}
    items_V, times = (gone[name].combine_chunks().flatten().to_numpy() for name in ("items", "timestamps"))
    days, of_day = np.unique(times // _DAY_US, return_counts=True)
    return {
        "bucket": number,
        "file": file,
        "content": counts["content"],
        "lost": lost,
        "items": np.unique(items_V, return_counts=True),
        "interactions_per_day": dict(zip(days.astype("M8[D]").astype(str).tolist(), of_day.tolist(), strict=True)),
        "domains": lost["domains"],
        "users_per_length": {length: -users for length, users in lost["users_per_length"].items()},
    }


def _items(corpus: Corpus, parts: list[dict[str, Any]], build: str) -> tuple[str, str]:
    """Write the item table with what is left of its counts; its path and checksum."""
    table = corpus.items().table
    counts_V = table["count"].to_numpy().copy()
    for part in parts:
        places, lost = part["items"]
        counts_V[places] -= lost
    left = table.set_column(table.column_names.index("count"), "count", pa.array(counts_V))
    return _written(corpus, f"{build}/items.parquet", left)


def _users(corpus: Corpus, ids: pa.Array, build: str) -> dict[str, tuple[str, str]]:
    """Write the table of users without these, where it has some of them; path and checksum by the old path."""
    path = corpus.manifest.users
    if path is None:
        return {}
    table = corpus.read(path)
    left = table.filter(pc.invert(pc.is_in(table["user_id"], value_set=ids.cast(table["user_id"].type))))
    return {path: _written(corpus, f"{build}/users.parquet", left)} if left.num_rows < table.num_rows else {}


def _relations(corpus: Corpus, ids: pa.Array, build: str) -> tuple[dict[str, tuple[str, str]], int]:
    """Write the table of relations without those of these users, where it has some; how many relations are left."""
    path, table = corpus.manifest.relations, corpus.relations()
    if path is None or table is None:
        return {}, 0
    gone = (pc.is_in(table[name], value_set=ids.cast(table[name].type)) for name in ("user_id", "other_id"))
    left = table.filter(pc.invert(pc.or_(*gone)))
    is_changed = left.num_rows < table.num_rows
    return {path: _written(corpus, f"{build}/relations.parquet", left)} if is_changed else {}, left.num_rows


def _quarantine(corpus: Corpus, ids: pa.Array, build: str) -> dict[str, tuple[str, str]]:
    """Write the files of rejected rows without those of these users; path and checksum by the old path."""
    written = {}
    for number, path in enumerate(corpus.manifest.quarantine):
        table = corpus.read(path)
        left = table.filter(pc.invert(pc.is_in(table["user_id"], value_set=ids.cast(table["user_id"].type))))
        told = pc.if_else(pc.is_null(left["user_id"]), pa.scalar(None, pa.string()), left["detail"])
        left = left.set_column(left.column_names.index("detail"), "detail", told)
        if not left.equals(table):
            written[path] = _written(corpus, f"{build}/quarantine/{number:05d}.parquet", left)
    return written


def _written(corpus: Corpus, path: str, table: pa.Table) -> tuple[str, str]:
    return path, storage.write_parquet(storage.join(corpus.uri, path), table)


def _reasons(uri: str, paths: list[str]) -> dict[str, int]:
    """How many rejected rows there are of each reason."""
    found = Counter[str]()
    for path in paths:
        found.update(storage.read_parquet(storage.join(uri, path), ["reason"])["reason"].to_pylist())
    return dict(sorted(found.items()))


def _less(counts: dict[str, int], parts: list[dict[str, Any]], name: str) -> dict[str, int]:
    """Counts less those of all parts; what comes to nothing is left out."""
    lost = sum((Counter(part[name]) for part in parts), Counter[str]())
    return {key: count - lost[key] for key, count in counts.items() if count > lost[key]}


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
