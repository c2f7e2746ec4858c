"""From a log to a corpus version, in Ray Data: partition by user hash, count the vocabulary, sort each bucket, publish.

Two passes over storage (rows into buckets, buckets into sequences) instead of one shuffle: memory is bounded by a
bucket, no row passes through the driver, and a version appears in one atomic step or not at all.
"""

import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable
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
from ray_userrep.corpus.manifest import SCHEMA_VERSION, Manifest, SequenceFile
from ray_userrep.corpus.partition import partition
from ray_userrep.corpus.quarantine import refuse_damage
from ray_userrep.corpus.sequences import build_bucket
from ray_userrep.corpus.store import manifest_uri, newest_version
from ray_userrep.corpus.vocabulary import describe, merge_counts
from ray_userrep.errors import UserError
from ray_userrep.logs.source import Logs

_BATCH_ROWS = 1_000_000  # in one task's memory; each batch leaves a file in every bucket
_Reports = list[dict[str, Any]]


def prepare(logs: Logs, config: CorpusConfig, uri: str) -> Manifest:
    """Publish a corpus version of a log at a URI; one that is there already, of the same log, is returned as it is.

    Raises:
        UserError: no row of the log can be used, or no user has two interactions.
    """
    uri = storage.absolute(uri)  # tasks have working directories of their own
    there = _up_to_date(logs, config, uri)
    if there is not None:
        print(f"prepare   {uri} is up to date (version {there.version})", flush=True)
        return there
    build = f"data/{uuid.uuid4().hex[:12]}"
    try:
        manifest = _build(logs, config, uri, build)
    except BaseException:
        storage.delete(storage.join(uri, build))
        raise
    # From here on the build is kept whatever happens: a publication that seems to fail may have gone through.
    storage.delete(storage.join(uri, build, "staging"))
    return _publish(uri, manifest)


def _up_to_date(logs: Logs, config: CorpusConfig, uri: str) -> Manifest | None:
    """The newest version, where it was made from this log in this layout."""
    newest = newest_version(uri)
    if newest is None:
        return None
    there = storage.read_json(manifest_uri(uri, newest))
    wanted = {
        "schema_version": SCHEMA_VERSION,
        "source_uri": logs.uri,
        "source_fingerprint": logs.fingerprint,
        "num_buckets": config.num_buckets,
    }
    return Manifest.model_validate(there) if wanted.items() <= there.items() else None


def _build(logs: Logs, config: CorpusConfig, uri: str, build: str) -> Manifest:
    """Write every file of a version below the build folder; returns the manifest that names them, not yet numbered."""
    build_uri = storage.join(uri, build)
    parts = _partition(logs, config, build_uri)
    items = _vocabulary(parts, logs, build_uri)
    buckets = _sequences(parts, items, logs, build_uri)
    quarantine = [part["quarantine"].removeprefix(f"{uri}/") for part in parts if part["quarantine"]]
    return Manifest(
        version=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source_uri=logs.uri,
        reader=logs.reader,
        source_fingerprint=logs.fingerprint,
        content_fingerprint=_fingerprint(items, buckets),
        num_buckets=config.num_buckets,
        num_users=_sum(buckets, "num_users"),
        num_items=items.num_rows,
        num_interactions=_sum(buckets, "num_interactions"),
        num_ties=_sum(buckets, "num_ties"),
        num_duplicates=_sum(buckets, "num_duplicates"),
        quarantined=dict(sorted(_total(part["reasons"] for part in parts).items())),
        interactions_per_day=dict(sorted(_total(part["days"] for part in parts).items())),
        side_columns=buckets[0]["side_columns"],
        items=f"{build}/items.parquet",
        users=f"{build}/users.parquet" if _write_users(logs.users, buckets, build_uri) else None,
        quarantine=sorted(quarantine),
        sequences=[_sequence_file(bucket, build) for bucket in buckets],
    )


def _partition(logs: Logs, config: CorpusConfig, build_uri: str) -> _Reports:
    began = time.perf_counter()
    task = partial(partition, build_uri=build_uri, num_buckets=config.num_buckets)
    parts = _reports(logs.interactions.map_batches(task, batch_format="pyarrow", batch_size=_BATCH_ROWS))
    rows, reasons = _sum(parts, "rows"), _total(part["reasons"] for part in parts)
    if not rows:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        raise UserError(f"nothing in {logs.uri} can be used: {listed or 'it has no rows'}")
    refuse_damage(logs, rows, reasons, [part["quarantine"] for part in parts if part["quarantine"]])
    _say("partition", began, f"{rows:,} interactions, {reasons.total():,} quarantined", rows + reasons.total())
    return parts


def _vocabulary(parts: _Reports, logs: Logs, build_uri: str) -> pa.Table:
    began = time.perf_counter()
    items = describe(merge_counts([part["items"] for part in parts if part["items"]]), logs.items)
    storage.write_parquet(storage.join(build_uri, "items.parquet"), items)
    _say("vocabulary", began, f"{items.num_rows:,} items")
    return items


def _sequences(parts: _Reports, items: pa.Table, logs: Logs, build_uri: str) -> _Reports:
    """Turn each bucket's part files into one file of sequences; buckets without users have none."""
    began = time.perf_counter()
    files: dict[int, list[str]] = {}
    for part in parts:
        for bucket, file in part["buckets"].items():
            files.setdefault(int(bucket), []).append(file)
    tasks = ray.data.from_items(
        [{"bucket": bucket, "parts": files[bucket]} for bucket in files], override_num_blocks=len(files)
    )
    task = partial(build_bucket, build_uri=build_uri, ids=ray.put(items["item_id"].combine_chunks()))
    buckets = _reports(tasks.map_batches(task, batch_format="pyarrow", batch_size=1))
    if max(bucket["longest"] for bucket in buckets) < 2:
        raise UserError(f"no user in {logs.uri} has two interactions: nothing to learn; see logs.columns for user_id")
    told = f"{_sum(buckets, 'num_users'):,} users in {len(buckets)} buckets"
    _say("sequences", began, told, _sum(buckets, "num_interactions"))
    return sorted(buckets, key=lambda report: report["bucket"])


def _write_users(users: pa.Table | None, buckets: _Reports, build_uri: str) -> bool:
    """Write the attributes of the users who are in the corpus; whether the log has any."""
    if users is None:
        return False
    files = [storage.join(build_uri, bucket["path"]) for bucket in buckets]
    present = pa.chunked_array([storage.read_parquet(file, ["user_id"])["user_id"].combine_chunks() for file in files])
    ids = users["user_id"].cast(present.type)
    storage.write_parquet(
        storage.join(build_uri, "users.parquet"), users.filter(pc.is_in(ids, value_set=present.combine_chunks()))
    )
    return True


def _sequence_file(bucket: dict[str, Any], build: str) -> SequenceFile:
    return SequenceFile(
        bucket=bucket["bucket"],
        path=f"{build}/{bucket['path']}",
        num_users=bucket["num_users"],
        num_interactions=bucket["num_interactions"],
    )


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
            if type(cause) is UserError:  # Ray's wrapper of a task's error is a subclass of that error, too
                raise cause from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise


def _fingerprint(items: pa.Table, buckets: _Reports) -> str:
    """Of ids, order and times, which decide what is predicted; equal however the log was cut into files and blocks."""
    digest = hashlib.sha256(hash_ids(items["item_id"]).data)
    for bucket in buckets:
        digest.update(bucket["content"].encode())
    return digest.hexdigest()[:16]


def _sum(reports: _Reports, field: str) -> int:
    return sum(report[field] for report in reports)


def _total(counts: Iterable[dict[str, int]]) -> Counter[str]:
    return sum((Counter(count) for count in counts), Counter())


def _say(stage: str, began: float, told: str, num_rows: int | None = None) -> None:
    seconds = time.perf_counter() - began
    rate = f" ({num_rows / seconds:,.0f} rows/s)" if num_rows is not None else ""
    print(f"prepare   {stage:12s} {seconds:6.1f} s  {told}{rate}", flush=True)
