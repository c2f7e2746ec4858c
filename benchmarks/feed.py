"""The feed alone: how fast the stream hands out batches, beside what training takes and a bare loop over the files.

    python benchmarks/feed.py [--interactions 2000000] [--buckets 64] [--seconds 5] [--repeats 3] [--workers 2]

A corpus of random sequences with power-law lengths is written to a local folder. Three ways read it in turn, several
times over; medians count:

* stream: `steps()` behind its prefetching thread, next-item views made, no model;
* beside a consumer: the same, with a consumer that computes for as long as a step of the default recipe takes; the
  share of the time that it waits for its next step is the data wait;
* bare loop: pyarrow reads the same files and torch pads the same windows, in the order of the files.

Then workers in Ray read two epochs: the buckets that were read from storage over the buckets stored, each worker by
itself and through shared copies, with a shuffle group of all buckets and of a quarter of them. Where the group is
smaller than the corpus, each epoch reads every bucket once more. Figures go to benchmarks/results/feed.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from torch.nn.utils.rnn import pad_sequence

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Bucket, Corpus, manifest_uri, open_corpus
from ray_userrep.corpus.summary import frequencies
from ray_userrep.distributed.buckets import Homes, SharedWindows, find_homes
from ray_userrep.distributed.readers import Traffic, bucket_readers
from ray_userrep.feed.cutting import BucketWindows
from ray_userrep.feed.plan import BatchPlan, Position
from ray_userrep.feed.ranks import ALONE
from ray_userrep.feed.stream import Prefetch, Step, buckets_held, make_plan, steps
from ray_userrep.logs.connection import connect
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.online_retail import online_retail
from ray_userrep.training.runs import environment
from ray_userrep.training.step import Micros, draws_at, prepare_micros

RESULTS = Path(__file__).parent / "results"
NUM_ITEMS, LONGEST = 20_000, 2_000
PADDED_USERS = 32  # of a batch of the bare loop: as many targets as the stream's, about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", help="folder for the corpus; empty: the system's")
    options = parser.parse_args()
    trained = json.loads((RESULTS / "throughput.json").read_text())["rows"]["bare loop"]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        corpus = write_corpus(folder, options.interactions, options.buckets)
        rates = measured(corpus, options.seconds, options.repeats, trained["step_ms"] / 1e3)
        connect()
        reads = {
            f"{'all buckets' if group == options.buckets else 'a quarter'}, {way}": reads_of(
                corpus, group, options.workers, way == "shared"
            )
            for group in (options.buckets, max(1, options.buckets // 4))
            for way in ("each by itself", "shared")
        }
    stream, bare = rates["stream"]["interactions_per_second"], rates["bare loop"]["interactions_per_second"]
    result = {
        "environment": environment(),
        "options": {name: value for name, value in vars(options).items() if name != "scratch"},
        "load": load,
        "rows": rates,
        "training": {"interactions_per_second": trained["interactions_per_second"], "step_ms": trained["step_ms"]},
        "over_training": stream / trained["interactions_per_second"],
        "over_bare": stream / bare,
        "reads_per_bucket_in_two_epochs": reads,
    }
    (RESULTS / "feed.json").write_text(json.dumps(result, indent=2))
    told = {name: result[name] for name in ("load", "rows", "over_training", "over_bare")}
    print(json.dumps(told | {"reads": reads}, indent=2))


def write_corpus(uri: str, num_interactions: int, num_buckets: int) -> Corpus:
    """Random items, times in order, lengths from 3 up with a long tail."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.pareto(1.2, num_interactions // 8) * 6 + 3, LONGEST).astype(np.int64)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), num_interactions)) + 1]
    users = pa.array(np.arange(len(lengths)))
    hashes = hash_ids(users)
    bucket_U = bucket_of(hashes, num_buckets)
    files = [write_bucket(uri, b, np.flatnonzero(bucket_U == b), lengths, hashes, rng) for b in range(num_buckets)]
    items = pa.table({"item_id": pa.array(range(NUM_ITEMS)), "count": pa.array([1] * NUM_ITEMS)})
    storage.write_parquet(storage.join(uri, "items.parquet"), items)
    manifest = Manifest(
        version=1, created="", source_uri="", reader="", source_fingerprint="", content_fingerprint="",
        num_buckets=num_buckets, num_users=len(lengths), num_items=NUM_ITEMS, num_ties=0, num_duplicates=0,
        num_interactions=int(lengths.sum()), quarantined={}, interactions_per_day={"1971-01-01": 1}, side_columns=[],
        items="items.parquet", users=None, quarantine=[], sequences=files, sources="",
        users_per_length=frequencies(lengths),
    )  # fmt: skip
    storage.write_json(manifest_uri(uri, 1), manifest.model_dump())
    return open_corpus(uri)


def write_bucket(
    uri: str, number: int, users: np.ndarray, lengths: np.ndarray, hashes: np.ndarray, rng: np.random.Generator
) -> SequenceFile:
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths[users])]).astype(np.int32))
    size = int(lengths[users].sum())
    items, times = rng.integers(0, NUM_ITEMS, size), np.arange(size) * 1_000_000
    lists = {"items": items, "timestamps": times}
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in lists.items()}
    path = f"sequences/bucket={number:05d}/part-0.parquet"
    table = pa.table({"user_id": pa.array(users), "user_hash": pa.array(hashes[users])} | columns)
    write_sequences(uri, path, table)
    return SequenceFile(bucket=number, path=path, num_users=len(users), num_interactions=size)


def measured(corpus: Corpus, seconds: float, repeats: int, step_seconds: float) -> dict[str, dict[str, float]]:
    """The ways in turn, medians over the repeats; the plan is made and the first group decoded before the clock."""
    recipe = online_retail()
    recipe.stream.shuffle_buckets = corpus.manifest.num_buckets
    plan = plan_of(corpus, recipe)
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "stream": lambda: stream(corpus, plan, recipe, seconds, 0.0),
        "beside a consumer": lambda: stream(corpus, plan, recipe, seconds, step_seconds),
        "bare loop": lambda: bare(corpus, recipe.stream.max_len, seconds),
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            runs[name].append(way())
    return {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }


def plan_of(corpus: Corpus, recipe: Recipe) -> BatchPlan:
    return make_plan(corpus, resolve(LeaveOneOutConfig(), corpus), recipe.stream, 1, recipe.seed)


def source(
    corpus: Corpus, plan: BatchPlan, recipe: Recipe, rank: int = 0, world: int = 1, homes: Homes | None = None
) -> Iterator[Step[Micros]]:
    """What a rank of the default recipe trains on."""
    objective = build_objective(
        recipe.objective, recipe.encoder, ObjectiveData(corpus.items(), [], lambda: np.zeros(0))
    )
    given = corpus, resolve(LeaveOneOutConfig(), corpus), (), buckets_held(plan.config)
    windows = BucketWindows(*given) if homes is None else SharedWindows(homes, *given)
    prepared = lambda micros, here: prepare_micros(objective, micros, draws_at(recipe.seed, here), rank)  # noqa: E731
    return steps(plan, windows, rank, world, Position(), prepared)


def stream(corpus: Corpus, plan: BatchPlan, recipe: Recipe, seconds: float, step_seconds: float) -> dict[str, float]:
    feed = Prefetch(source(corpus, plan, recipe), recipe.stream.prefetch)
    targets, num_steps = 0, 0
    x = torch.randn(256, 256)
    for number, step in enumerate(feed):
        if number == 0:  # the first step waits for the first group
            began, waited, used = time.perf_counter(), feed.wait_seconds, time.process_time()
            continue
        targets, num_steps = targets + int(step.micros.counts_P.sum()), num_steps + 1
        until = time.perf_counter() + step_seconds
        while time.perf_counter() < until:
            x = torch.tanh(x @ x)
        if time.perf_counter() - began > seconds:
            break
    spent, share = time.perf_counter() - began, feed.wait_seconds - waited
    used = time.process_time() - used
    feed.close()
    rate = {"interactions_per_second": targets / spent, "step_ms": spent / num_steps * 1e3}
    return rate | ({"data_wait": share / spent} if step_seconds else {"per_cpu_second": targets / used})


def bare(corpus: Corpus, max_len: int, seconds: float) -> dict[str, float]:
    """Windows as the plan's, padded inputs and targets, until the time is over."""
    began, used, targets = time.perf_counter(), time.process_time(), 0
    while True:
        for file in corpus.manifest.sequences:
            items = pq.read_table(storage.join(corpus.uri, file.path), columns=["items"])["items"].combine_chunks()
            values, offsets = torch.from_numpy(items.values.to_numpy().copy()), items.offsets.to_numpy()
            windows = iter(cut(values, offsets, max_len))
            while batch := list(islice(windows, PADDED_USERS)):
                padded = pad_sequence(batch, batch_first=True, padding_value=-1)
                inputs, wanted = padded[:, :-1], padded[:, 1:]
                targets += int((wanted >= 0).sum()) * (len(inputs) > 0)
            spent = time.perf_counter() - began
            if spent > seconds:
                return {
                    "interactions_per_second": targets / spent,
                    "per_cpu_second": targets / (time.process_time() - used),
                }


def cut(values: torch.Tensor, offsets: np.ndarray, max_len: int) -> Iterator[torch.Tensor]:
    """Each user's windows from the newest back, without the two interactions that are held out."""
    for low, high in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for end in range(high - 2, low + 1, -max_len):
            yield values[max(low, end - max_len - 1) : end]


class Counted(Corpus):
    """Counts the buckets that are read from storage."""

    num_reads = 0

    def bucket(self, number: int, side: Sequence[str] = ()) -> Bucket:
        self.num_reads += 1
        return super().bucket(number, side)


@ray.remote(num_cpus=0)
def two_epochs(uri: str, group: int, rank: int, world: int, homes: Homes | None) -> int:
    """What a worker does to the files: planning, then every batch of two epochs; how many buckets it read itself."""
    recipe = online_retail()
    recipe.stream.shuffle_buckets, recipe.stream.batch_tokens = group, 65_536
    opened = open_corpus(uri)
    corpus = Counted(opened.uri, opened.manifest)
    plan = plan_of(corpus, recipe)
    for step in source(corpus, plan, recipe, rank, world, homes):
        if step.after == Position(2):
            break
    return corpus.num_reads


def reads_of(corpus: Corpus, group: int, workers: int, shared: bool) -> float:
    """Buckets read from storage by all workers over buckets stored."""
    readers = bucket_readers(corpus, resolve(LeaveOneOutConfig(), corpus), 3 * group)
    homes = find_homes(readers, ALONE) if shared else None
    own: list[Any] = ray.get([two_epochs.remote(corpus.uri, group, rank, workers, homes) for rank in range(workers)])
    reads = sum(own) if homes is None else Traffic(*ray.get(homes.readers[0].traffic.remote())).reads
    return float(reads / len(corpus.manifest.sequences))


if __name__ == "__main__":
    main()
