"""The second level of partitioning, for more buckets than a batch is worth cutting into.

With one level there are as many slices as batches times buckets, and each is a request of its own: a log of 10¹⁰ rows
in 16,384 buckets would take 160 million of them, of 60 rows each. So a slice takes a group of buckets there, about as
many as there are groups, and all slices of a group are cut into its buckets afterwards: the rows are written and read
once more, in requests that grow with the root of the number of buckets.
"""

import uuid
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.logs.tasks import shared
from ray_userrep.prepare.stages import Build, Report, run_tasks
from ray_userrep.prepare.staging import read_slices, write_by_slice

MOST_SLICES = 4096  # of a batch
_ROWS = 2_000_000  # that are cut again together, about


class Staged(NamedTuple):
    """Rows by bucket: files in the order of their rows, each with a slice for every bucket from the first on."""

    files: list[str]
    first: int
    bucket_rows: list[int]


def buckets_a_slice(num_buckets: int) -> int:
    """How many buckets share a slice of a batch: one, until there are too many of them."""
    return 1 if num_buckets <= MOST_SLICES else 1 << num_buckets.bit_length() // 2


def divided(build: Build, parts: Report, num_buckets: int) -> list[Staged]:
    """The rows of a partitioned log by bucket, whatever its slices hold."""
    size = buckets_a_slice(num_buckets)
    if size == 1:
        return [Staged(parts["files"], 0, parts["slice_rows"])]
    cut = build.stage("divide", lambda: _divide(parts, num_buckets, build.uri))["reports"]
    storage.delete(storage.join(build.uri, "staging", "rows"))
    groups = dict[int, Staged]()
    for part in cut:
        group = groups.setdefault(part["first"], Staged([], part["first"], [0] * size))
        group.files.append(part["file"])
        group.bucket_rows[:] = np.add(group.bucket_rows, part["bucket_rows"]).tolist()
    return list(groups.values())


def _divide(parts: Report, num_buckets: int, build_uri: str) -> Report:
    files, num_files = shared(parts["files"]), len(parts["files"])
    calls, sizes = list[tuple[Any, ...]](), list[int]()
    for group, rows in enumerate(parts["slice_rows"]):
        # Each call takes the slices of files side by side, of about as many rows as are cut together.
        cuts = np.linspace(0, num_files, min(-(-rows // _ROWS), num_files) + 1).astype(int).tolist()
        runs = list(pairwise(cuts))
        calls += [(divide_group, group, files, low, high, num_buckets, build_uri) for low, high in runs]
        sizes += [rows // len(runs) for _ in runs]
    return run_tasks("divide", calls, sizes)


def divide_group(group: int, files: list[str], low: int, high: int, num_buckets: int, build_uri: str) -> Report:
    """Cut a group's slices of the files from `low` to `high` into its buckets; returns what was staged."""
    size = buckets_a_slice(num_buckets)
    rows, first = pa.concat_tables(read_slices(files[low:high], group)), group * size
    uri = storage.join(build_uri, "staging", "groups", f"{group:05d}-{uuid.uuid4().hex}")
    place_N = bucket_of(hash_ids(rows["user_id"]), num_buckets) - first
    return {"first": first, "file": uri, "bucket_rows": write_by_slice(uri, rows, place_N, size)}
