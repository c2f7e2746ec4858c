"""From a log to a corpus version: partition by user hash, sort each bucket, count the vocabulary, write, publish.

The log is streamed once, by Ray Data on a cluster; what follows are plain tasks on staged files, one a bucket or a
range of ids.
Rows are written twice and read twice instead of shuffled, and no process holds more than a batch, a bucket or a range:
the driver sees counts of files, days, reasons and frequencies. A version appears in one atomic step or not at all.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.manifest import SCHEMA_VERSION, Manifest, SequenceFile, encoded
from ray_userrep.corpus.store import manifest_of, manifest_uri, newest_version, read_manifest
from ray_userrep.errors import UserError
from ray_userrep.logs.numbers import EXAMPLES, Unread, joined, told
from ray_userrep.logs.parts import each
from ray_userrep.logs.rejection import CURES
from ray_userrep.logs.source import Logs
from ray_userrep.logs.tasks import get_ready, shared
from ray_userrep.prepare.divide import Staged, buckets_a_slice, divided
from ray_userrep.prepare.kcore import keep_core
from ray_userrep.prepare.partition import partition, refuse_damage, tell_future
from ray_userrep.prepare.sequences import sort_bucket, summed_lengths, write_bucket
from ray_userrep.prepare.side_tables import (
    refuse_unmet,
    tell_relations,
    write_relations,
    write_sources,
    write_users,
)
from ray_userrep.prepare.stages import PEAK, Build, Report, StageProgress, begin, plain_errors, run_tasks
from ray_userrep.prepare.vocabulary import Counted, Vocabulary, count_range, cuts, number_items, write_items
from ray_userrep.recipe.corpus import CorpusConfig, num_buckets_of


def prepare(logs: Logs, config: CorpusConfig, uri: str) -> Manifest:
    """Publish a corpus version of a log at a URI; one that is there already, of the same log, is returned as it is.

    What a run finished before it died is not done again.

    Raises:
        UserError: no row of the log can be used, or no user has two interactions.
    """
    uri = storage.absolute(uri)  # tasks have working directories of their own
    key = _key(logs, config)
    there = _up_to_date(key, uri)
    if there is not None:
        print(f"prepare   {uri} is up to date (version {there.version})", flush=True)
        return there
    build = begin(uri, key)
    try:
        manifest = build_version(logs, config, uri, build)
        if manifest.num_interactions == manifest.num_users:
            raise _Useless(
                f"no user in {logs.uri} has two interactions: nothing to learn; see logs.columns for user_id"
            )
    except _Useless:
        build.drop()
        raise
    except BaseException:
        if not build.finished:
            build.drop()
        raise
    build.settle()
    try:
        manifest = keep_core(manifest, config.k_core, uri, build.folder)
    except BaseException:
        build.drop()
        raise
    # From here on the build is kept whatever happens: a publication that seems to fail may have gone through.
    published = _publish(uri, manifest)
    build.clean()
    return published


class _Useless(UserError):
    """A log of which no corpus can be made, however often that is tried."""


def _key(logs: Logs, config: CorpusConfig) -> dict[str, Any]:
    """What a version is made from, in the manifest's words."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source_uri": logs.uri,
        "source_fingerprint": logs.fingerprint,
        "num_buckets": config.num_buckets or num_buckets_of(logs.num_bytes),
        "max_user_interactions": config.max_user_interactions,
        "k_core": config.k_core.model_dump(),
    }


def _up_to_date(key: dict[str, Any], uri: str) -> Manifest | None:
    """The newest version, where it was made from this log in this layout."""
    newest = newest_version(uri)
    if newest is None:
        return None
    there = read_manifest(uri, newest)
    return manifest_of(there, manifest_uri(uri, newest)) if key.items() <= there.items() else None


def build_version(logs: Logs, config: CorpusConfig, uri: str, build: Build) -> Manifest:
    """Write every file of a version below the build folder; returns the manifest that names them, not yet numbered.

    Raises:
        UserError: no row of the log can be used.
    """
    key = _key(logs, config)
    get_ready(logs.num_bytes)
    parts = build.stage("partition", lambda: _partition(logs, key["num_buckets"], build.uri))
    tell_future(parts["days"], datetime.now(UTC).date().isoformat())
    staged = divided(build, parts, key["num_buckets"])
    buckets = build.stage("sort", lambda: _sort(staged, key["max_user_interactions"], build.uri))["reports"]
    for kind in ("rows", "groups"):  # the largest of what is staged
        storage.delete(storage.join(build.uri, "staging", kind))
    unread = joined([logs.unread, {name: Unread(**lost) for name, lost in parts["unread"].items()}])
    print("".join(f"warning   {told(name, lost)}\n" for name, lost in unread.items()), end="", flush=True)
    vocabulary = _vocabulary(build, buckets)
    items, *written = build.stage("write", lambda: _write(buckets, vocabulary, logs, build.uri))["reports"]
    refuse_unmet(logs, "item", items, len(vocabulary))
    users = _users(logs, written, key["num_buckets"], build)
    relations, checksums = _relations(logs, written, key["num_buckets"], build)
    sources, sources_checksum = write_sources(logs.files, uri, build.folder)
    quarantine = {file.removeprefix(f"{uri}/"): checksum for file, checksum in sorted(parts["quarantine"].items())}
    return Manifest(
        **key,
        version=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        reader=logs.reader,
        sources=sources,
        content_fingerprint=_fingerprint(items, written),
        num_users=_sum(written, "num_users"),
        num_items=len(vocabulary),
        num_interactions=_sum(written, "num_interactions"),
        num_ties=_sum(written, "num_ties"),
        num_duplicates=_sum(written, "num_duplicates"),
        num_capped=_sum(buckets, "num_capped"),
        quarantined=parts["reasons"],
        unread=unread,
        order=logs.order,
        interactions_per_day=parts["days"],
        users_per_length=summed_lengths(bucket["users_per_length"] for bucket in written),
        domains=dict(sorted(sum((Counter(bucket["domains"]) for bucket in written), Counter[str]()).items())),
        side_columns=written[0]["side_columns"],
        items=f"{build.folder}/items.parquet",
        users=next(iter(users), None),
        **relations,
        quarantine=list(quarantine),
        sequences=[_sequence_file(bucket, build.folder) for bucket in written],
        checksums={
            sources: sources_checksum,
            f"{build.folder}/items.parquet": items["checksum"],
            **users,
            **quarantine,
            **checksums,
        },
        peak_bytes=build.peak_bytes,
    )


def _partition(logs: Logs, num_buckets: int, build_uri: str) -> Report:
    """Stream the log into a file a batch, a slice a bucket or group; what the tasks say is added up as it comes."""
    progress, files, quarantine = StageProgress("partition"), list[tuple[int, str]](), dict[str, str]()
    slice_rows, peak = np.zeros(-(-num_buckets // buckets_a_slice(num_buckets)), np.int64), 0
    reasons, days = Counter[str](), Counter[str]()
    unread = dict[str, list[dict[str, Any]]]()

    def take(row: dict[str, Any]) -> None:
        nonlocal peak
        part = json.loads(row["report"])
        reasons.update(part["reasons"])
        days.update(part["days"])
        for name, lost in part["unread"].items():
            unread.setdefault(name, []).append(lost)
        peak = max(peak, part[PEAK])
        if part["quarantine"]:
            quarantine[part["quarantine"]] = part["checksum"]
        if part["file"]:
            files.append((part["first_row"], part["file"]))
            slice_rows[:] += np.array(part["slice_rows"])
        progress.add(part["rows"])

    with plain_errors():
        task = partial(partition, build_uri=build_uri, num_buckets=num_buckets, timed=logs.order == "time")
        each(logs.interactions, task, take)
    if not files:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        cures = "".join(f"; {CURES[reason]}" for reason in reasons if reason in CURES)
        raise _Useless(f"nothing in {logs.uri} can be used: {listed or 'it has no rows'}{cures}")
    refuse_damage(logs, int(slice_rows.sum()), reasons, quarantine)
    progress.end(f"{slice_rows.sum():,} interactions, {reasons.total():,} quarantined")
    return {
        "files": [file for _, file in sorted(files)],  # rows in order are sorted faster
        "slice_rows": slice_rows.tolist(),
        "reasons": dict(sorted(reasons.items())),
        "days": dict(sorted(days.items())),
        "quarantine": quarantine,
        "unread": {name: _unread(parts) for name, parts in unread.items() if any(part["count"] for part in parts)},
        PEAK: peak,
    }


def _unread(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers lost in all batches of a log, and those that come first in it."""
    first = sorted(tuple(one) for part in parts for one in part["first"])
    return {"count": _sum(parts, "count"), "examples": [told for _, told in first[:EXAMPLES]]}


def _sort(staged: list[Staged], cap: int | None, build_uri: str) -> Report:
    """Sort and group each bucket that has users."""
    calls, sizes = list[tuple[Any, ...]](), list[int]()
    for part in staged:
        files = shared(part.files)
        for place in np.flatnonzero(part.bucket_rows).tolist():
            calls.append((sort_bucket, part.first + place, files, place, build_uri, cap))
            sizes.append(part.bucket_rows[place])
    return run_tasks("sort", calls, sizes)


def _vocabulary(build: Build, buckets: list[Report]) -> Vocabulary:
    """Count the items of all buckets, range by range, and number them."""
    counted = [Counted(bucket["items"], bucket["num_distinct"], bucket["samples"]) for bucket in buckets]
    bounds = [None, *cuts(counted), None]
    size = sum(bucket.num_distinct for bucket in counted) // (len(bounds) - 1)
    counts = shared(counted)
    calls = [(count_range, number, low, high, counts, build.uri) for number, (low, high) in enumerate(pairwise(bounds))]
    return number_items(build.stage("count", lambda: run_tasks("count", calls, [size] * len(calls)))["reports"])


def _write(buckets: list[Report], vocabulary: Vocabulary, logs: Logs, build_uri: str) -> Report:
    """Write the item table and every bucket's sequences; the report of the items comes first."""
    numbered = shared(vocabulary)
    calls: list[tuple[Any, ...]] = [
        (write_items, numbered, shared(logs.items), storage.join(build_uri, "items.parquet")),
        *(
            (write_bucket, bucket["bucket"], place, bucket["sequences"], build_uri, numbered)
            for place, bucket in enumerate(buckets)
        ),
    ]
    return run_tasks("write", calls, [0, *(bucket["num_interactions"] for bucket in buckets)])


def _users(logs: Logs, written: list[Report], num_buckets: int, build: Build) -> dict[str, str]:
    """Write the attributes of the users who are in the corpus; the file with its checksum, where the log has any."""
    users = logs.users
    if users is None:
        return {}
    files = _files_of(written, build)
    call = (write_users, shared(users), files, num_buckets, storage.join(build.uri, "users.parquet"))
    (found,) = build.stage("users", lambda: run_tasks("users", [call], [len(users)]))["reports"]
    refuse_unmet(logs, "user", found, _sum(written, "num_users"))
    return {f"{build.folder}/users.parquet": found["checksum"]}


def _relations(
    logs: Logs, written: list[Report], num_buckets: int, build: Build
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write the relations of the users who are in the corpus; what the manifest says of them, and the checksum."""
    relations = logs.relations
    if relations is None:
        return {}, {}
    place = storage.join(build.uri, "relations.parquet")
    call = (write_relations, shared(relations), _files_of(written, build), num_buckets, place)
    (found,) = build.stage("relations", lambda: run_tasks("relations", [call], [len(relations)]))["reports"]
    tell_relations(found["num_relations"], found["dropped"])
    path = f"{build.folder}/relations.parquet"
    told = {"relations": path, "num_relations": found["num_relations"], "dropped_relations": found["dropped"]}
    return told, {path: found["checksum"]}


def _files_of(written: list[Report], build: Build) -> dict[int, str]:
    """The sequences by bucket."""
    return {bucket["bucket"]: storage.join(build.uri, bucket["path"]) for bucket in written}


def _sequence_file(bucket: Report, folder: str) -> SequenceFile:
    return SequenceFile(
        bucket=bucket["bucket"],
        path=f"{folder}/{bucket['path']}",
        num_users=bucket["num_users"],
        num_interactions=bucket["num_interactions"],
        checksum=bucket["checksum"],
        outline=bucket["outline"],
    )


def _publish(uri: str, manifest: Manifest) -> Manifest:
    """Create the next manifest; whoever loses the race for a number takes the one after."""
    version = (newest_version(uri) or 0) + 1
    while True:
        numbered = manifest.model_copy(update={"version": version})
        try:
            storage.create_exclusive(manifest_uri(uri, version), encoded(numbered))
            return numbered
        except FileExistsError:
            version += 1


def _fingerprint(items: Report, buckets: list[Report]) -> str:
    """Of ids, order and times, which decide what is predicted; equal however the log was cut into files and blocks."""
    return hashlib.sha256("".join(part["content"] for part in (items, *buckets)).encode()).hexdigest()[:16]


def _sum(reports: Iterable[Report], field: str) -> int:
    return sum(report[field] for report in reports)
