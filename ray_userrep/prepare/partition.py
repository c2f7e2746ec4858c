"""The map side of preparing: each batch of canonical rows goes straight into one file, a slice for each hash bucket.

One pass without a shuffle, which is the slow path of grouping by user. A task that is tried again writes a new file,
and only those that a finished task names are ever read.

Rejected rows are set apart from the good ones, and counted against what a log may lose. Only damage counts: rows that a
log rightly holds and a corpus cannot use (no user, a cancelled order) say nothing about its health. The check comes
after the log has been read once, when the counts are exact.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import UNREAD
from ray_userrep.logs.damage import WHOLE_FILE
from ray_userrep.logs.files import ROWS_PER_FILE
from ray_userrep.logs.numbers import EXAMPLES
from ray_userrep.logs.rejection import CURES, DAMAGE, REJECTION
from ray_userrep.logs.source import Logs
from ray_userrep.prepare.divide import buckets_a_slice
from ray_userrep.prepare.stages import PEAK, peak_bytes, watch_peak
from ray_userrep.prepare.staging import write_by_slice


def partition(batch: pa.Table, build_uri: str, num_buckets: int, timed: bool) -> pa.Table:
    """Write a batch's good rows by bucket, or by groups of many buckets, and its rejected rows; returns one row that
    describes it.

    Days are counted where the log is `timed`.
    """
    watch_peak()
    name = uuid.uuid4().hex
    odd = [name for name in batch.column_names if name.startswith(UNREAD)]
    good, rejected = split_rejected(batch.drop_columns(odd))
    report: dict[str, Any] = {"rows": good.num_rows, "file": None, "quarantine": None, "days": {}}
    report["reasons"] = _counts(rejected["reason"])
    report["unread"] = {name.removeprefix(UNREAD): _unread(batch, name) for name in odd}
    if rejected.num_rows:
        report["quarantine"] = storage.join(build_uri, "quarantine", f"{name}.parquet")
        report["checksum"] = storage.write_parquet(report["quarantine"], rejected)
    if good.num_rows:
        report["file"] = storage.join(build_uri, "staging", "rows", name)
        report["first_row"] = pc.min(good["row"]).as_py()
        report["slice_rows"] = _write_good(good, report["file"], num_buckets)
        report["days"] = _days(good["timestamp"]) if timed else {}
    return pa.table({"report": [json.dumps(report | {PEAK: peak_bytes()})]})


def _write_good(good: pa.Table, uri: str, num_buckets: int) -> list[int]:
    size = buckets_a_slice(num_buckets)
    return write_by_slice(uri, good, bucket_of(hash_ids(good["user_id"]), num_buckets) // size, -(-num_buckets // size))


def _unread(batch: pa.Table, name: str) -> dict[str, Any]:
    """How many good rows lost a number, and the first of them by row: what stood there, and where."""
    lost = batch.filter(pc.and_(pc.is_valid(batch[name]), pc.is_null(batch["reason"])))
    first = [
        (row["row"], f"{row['file']} row {row['row'] % ROWS_PER_FILE:,}: {row[name]!r}")
        for row in lost.slice(0, EXAMPLES).select(["row", "file", name]).to_pylist()
    ]
    return {"count": lost.num_rows, "first": first}


def _days(timestamps: pa.ChunkedArray) -> dict[str, int]:
    return {str(day): count for day, count in _counts(timestamps.cast(pa.date32())).items()}


def _counts(values: pa.ChunkedArray) -> dict[Any, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(values).to_pylist()}


def split_rejected(batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The good rows of a batch, without the columns that say why, and the rejected ones."""
    bad = pc.is_valid(batch["reason"])
    rejected = batch.filter(bad)
    good = batch.drop_columns([name for name in REJECTION if name in batch.column_names])
    return good.filter(pc.invert(bad)) if rejected.num_rows else good, rejected


def refuse_damage(logs: Logs, num_good: int, reasons: dict[str, int], files: Iterable[str]) -> None:
    """Stop where too many rows are damaged, or too many files lost.

    `reasons` counts the rejected rows, which are in the quarantine `files`.

    Raises:
        UserError: with the counts and the first examples.
    """
    damage = {reason: count for reason, count in reasons.items() if reason in DAMAGE}
    num_lost = sum(damage.get(reason, 0) for reason in WHOLE_FILE)
    num_rows = sum(damage.values()) - num_lost
    share_rows = num_rows / max(num_good + sum(reasons.values()) - num_lost, 1)
    share_files = num_lost / max(len(logs.files), 1)
    if max(share_rows, share_files) <= logs.max_quarantined_share:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(damage.items(), key=lambda told: -told[1]))
    cures = "".join(f"; {CURES[reason]}" for reason in damage if reason in CURES)
    raise UserError(
        f"{logs.uri}: {share_rows:.1%} of the rows are damaged and {share_files:.1%} of the files cannot be read, more "
        f"than logs.max_quarantined_share {logs.max_quarantined_share:.1%} ({counts}){cures}; the first: "
        + "; ".join(_examples(files))
    )


def tell_future(days: Mapping[str, int], today: str) -> None:
    """Say how many interactions are of days after today, of which a clock or a typo may be the cause; days are UTC."""
    late = {day: count for day, count in days.items() if day > today}
    if late:
        told = f"{sum(late.values()):,} interactions lie in the future, the last on {max(late)}"
        print(f"warning   {told}: logs.to_date {today} leaves them out", flush=True)


def _examples(files: Iterable[str]) -> Iterator[str]:
    """The damaged rows that come first in the log, in words; one file is held at a time."""
    order, damage = [("row", "ascending")], pa.array(sorted(DAMAGE))
    first: pa.Table | None = None
    for file in files:
        table = storage.read_parquet(file, ["row", *REJECTION])
        table = table.filter(pc.is_in(table["reason"], value_set=damage))
        both = table if first is None else pa.concat_tables([first, table])
        first = both.take(pc.select_k_unstable(both, EXAMPLES, order))
    assert first is not None, "there are rejected rows"
    for row in first.to_pylist():
        told = f" ({row['detail']})" if row["detail"] else ""
        yield f"{row['file']} row {row['row'] % ROWS_PER_FILE:,}: {row['reason']}{told}"
