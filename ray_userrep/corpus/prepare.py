"""From a log to a corpus version, in Ray Data: partition by user hash, count the vocabulary, sort each bucket, publish.

Two passes over storage (rows into buckets, buckets into sequences) instead of one shuffle: memory is bounded by a
bucket, no row passes through the driver, and a version appears in one atomic step or not at all.
"""

import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from ray_userrep import storage
from ray_userrep.corpus.config import CorpusConfig
from ray_userrep.corpus.hashing import hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.partition import partition
from ray_userrep.corpus.sequences import build_bucket
from ray_userrep.corpus.store import manifest_uri, newest_version, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.source import Logs

_BATCH_ROWS = 1_000_000
_Reports = list[dict[str, Any]]


def prepare(logs: Logs, config: CorpusConfig, uri: str) -> Manifest:
    """Publish a corpus version of a log at a URI; one that is there already, of the same log, is returned as it is.

    Raises:
        UserError: no row of the log can be used, or no user has two interactions.
    """
    newest = newest_version(uri)
    if newest is not None:
        there = open_corpus(uri, newest).manifest
        if (there.source_fingerprint, there.num_buckets) == (logs.fingerprint, config.num_buckets):
            print(f"prepare   {uri} is up to date (version {newest})")
            return there
    build = f"data/{uuid.uuid4().hex[:12]}"
    build_uri = storage.join(uri, build)
    try:
        manifest = _build(logs, config, uri, build)
    except BaseException:
        storage.delete(build_uri)
        raise
    storage.delete(storage.join(build_uri, "staging"))
    return _publish(uri, manifest)


def _build(logs: Logs, config: CorpusConfig, uri: str, build: str) -> Manifest:
    build_uri = storage.join(uri, build)
    with _stage("partition") as done:
        parts = _partition(logs, config, build_uri)
        rows, reasons = sum(part["rows"] for part in parts), _total(part["reasons"] for part in parts)
        done.append(f"{rows:,} interactions, {sum(reasons.values()):,} quarantined")
    if not rows:
        raise UserError(f"nothing in {logs.uri} can be used: {_listed(reasons) or 'it has no rows'}")
    with _stage("vocabulary") as done:
        items = _vocabulary([part["items"] for part in parts if part["items"]], logs.items)
        storage.write_parquet(storage.join(build_uri, "items.parquet"), items)
        done.append(f"{items.num_rows:,} items")
    with _stage("sequences") as done:
        buckets = _sequences(parts, build_uri, items)
        num_users = sum(bucket["num_users"] for bucket in buckets)
        done.append(f"{num_users:,} users in {len(buckets)} buckets")
    if max(bucket["longest"] for bucket in buckets) < 2:
        raise UserError(f"no user in {logs.uri} has two interactions: there is nothing to learn; check logs.columns user_id")
    return Manifest(
        version=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source_uri=logs.uri,
        reader=logs.reader,
        source_fingerprint=logs.fingerprint,
        content_fingerprint=_fingerprint(items, buckets),
        num_buckets=config.num_buckets,
        num_users=num_users,
        num_items=items.num_rows,
        num_interactions=rows,
        num_ties=sum(bucket["num_ties"] for bucket in buckets),
        num_duplicates=sum(bucket["num_duplicates"] for bucket in buckets),
        quarantined=dict(sorted(reasons.items())),
        interactions_per_day=dict(sorted(_total(part["days"] for part in parts).items())),
        side_columns=buckets[0]["side_columns"],
        items=f"{build}/items.parquet",
        users=_write_users(logs.users, buckets, uri, build),
        quarantine=[part["quarantine"].removeprefix(uri + "/") for part in parts if part["quarantine"]],
        sequences=[
            SequenceFile(path=f"{build}/{b['path']}", **{k: b[k] for k in ("bucket", "num_users", "num_interactions")})
            for b in buckets
        ],
    )


def _partition(logs: Logs, config: CorpusConfig, build_uri: str) -> _Reports:
    task = partial(partition, build_uri=build_uri, num_buckets=config.num_buckets)
    return _reports(logs.interactions.map_batches(task, batch_format="pyarrow", batch_size=_BATCH_ROWS))


def _vocabulary(count_files: list[str], described: pa.Table | None) -> pa.Table:
    """Items by falling count, then id, with the log's columns; an item's row is its index."""
    counts = pa.concat_tables([storage.read_parquet(file) for file in count_files])
    counts = counts.group_by("item_id").aggregate([("row_count", "sum")]).rename_columns(["item_id", "count"])
    if described is not None:
        described = described.set_column(0, "item_id", described["item_id"].cast(counts["item_id"].type))
        counts = counts.join(described, "item_id", join_type="left outer")
    return counts.sort_by([("count", "descending"), ("item_id", "ascending")]).combine_chunks()


def _sequences(parts: _Reports, build_uri: str, items: pa.Table) -> _Reports:
    files: dict[int, list[str]] = {}
    for part in parts:
        for bucket, file in part["buckets"].items():
            files.setdefault(int(bucket), []).append(file)
    tasks = [{"bucket": bucket, "parts": sorted(files[bucket])} for bucket in sorted(files)]
    task = partial(build_bucket, build_uri=build_uri, ids=ray.put(items["item_id"].combine_chunks()))
    buckets = ray.data.from_items(tasks, override_num_blocks=len(tasks))
    found = _reports(buckets.map_batches(task, batch_format="pyarrow", batch_size=1))
    return sorted(found, key=lambda report: report["bucket"])


def _write_users(users: pa.Table | None, buckets: _Reports, uri: str, build: str) -> str | None:
    """Attributes of the users who are in the corpus."""
    if users is None:
        return None
    files = [storage.join(uri, build, bucket["path"]) for bucket in buckets]
    present = pa.chunked_array([storage.read_parquet(file, ["user_id"])["user_id"].combine_chunks() for file in files])
    ids = users["user_id"].cast(present.type)
    storage.write_parquet(storage.join(uri, build, "users.parquet"), users.filter(pc.is_in(ids, value_set=present)))
    return f"{build}/users.parquet"


def _publish(uri: str, manifest: Manifest) -> Manifest:
    """Create the next manifest; whoever loses the race for a number takes the one after."""
    version = (newest_version(uri) or 0) + 1
    while True:
        numbered = manifest.model_copy(update={"version": version})
        try:
            storage.create_exclusive(manifest_uri(uri, version), numbered.model_dump_json(indent=2).encode())
            return numbered
        except FileExistsError:
            version += 1


def _reports(dataset: ray.data.Dataset) -> _Reports:
    """What the tasks of a stage say of their work; a user's error comes out of a task as itself."""
    try:
        return [json.loads(row["report"]) for row in dataset.take_all()]
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if type(cause) is UserError:
                raise cause from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise


def _fingerprint(items: pa.Table, buckets: _Reports) -> str:
    digest = hashlib.sha256(hash_ids(items["item_id"]))
    for bucket in buckets:
        digest.update(bucket["content"].encode())
    return digest.hexdigest()[:16]


def _total(counts: Any) -> Counter[str]:
    return sum((Counter(count) for count in counts), Counter())


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())


@contextmanager
def _stage(name: str) -> Iterator[list[str]]:
    began, done = time.perf_counter(), list[str]()
    yield done
    print(f"prepare   {name:12s} {time.perf_counter() - began:6.1f} s  {'; '.join(done)}", flush=True)
