"""What of a log a node reads and receives: four ranks on one, two and four local nodes read every batch of two epochs.

    python benchmarks/nodes.py [--interactions 2000000] [--buckets 64] [--scratch FOLDER]

The corpus is that of benchmarks/feed.py, with a shuffle group of a sixteenth of its buckets, so that each epoch reads
all of them again. Counted a node and epoch: buckets read from storage, as a share of the log, and bytes of windows that
other nodes sent, as a share of the windows of an epoch. Beside it stands what was sent before, when nodes copied each
other's decoded buckets: all of the log that is not at home, in sixteen bytes an interaction. Figures go to
benchmarks/results/nodes.json.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from feed import RESULTS, write_corpus
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.distributed.buckets import Homes, SharedWindows
from ray_userrep.distributed.readers import Traffic, bucket_readers
from ray_userrep.feed.plan import Position, rank_slice
from ray_userrep.feed.stream import buckets_held, make_plan
from ray_userrep.feed.windows import Windows
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig
from ray_userrep.training.runs import environment

NODES, RANKS, EPOCHS = (1, 2, 4), 4, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--scratch", help="folder for the corpus; empty: the system's")
    options = parser.parse_args()
    told = {name: value for name, value in vars(options).items() if name != "scratch"}
    result: dict[str, Any] = {"environment": environment(), "options": told, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        corpus = write_corpus(folder, options.interactions, options.buckets)
        result["nodes"] = {str(nodes): on_nodes(corpus, nodes) for nodes in NODES}
    (RESULTS / "nodes.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["nodes"], indent=1))


def stream(corpus: Corpus) -> StreamConfig:
    return StreamConfig(max_len=64, batch_tokens=65_536, shuffle_buckets=max(1, corpus.manifest.num_buckets // 16))


def on_nodes(corpus: Corpus, nodes: int) -> dict[str, float]:
    cluster = Cluster()
    for _ in range(nodes):
        cluster.add_node(num_cpus=RANKS // nodes, object_store_memory=10**9)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        return measured(corpus, sorted(node["NodeID"] for node in ray.nodes()))
    finally:
        ray.shutdown()
        cluster.shutdown()


def measured(corpus: Corpus, nodes: list[str]) -> dict[str, float]:
    """Of a node and epoch, on average."""
    held = buckets_held(stream(corpus)) + stream(corpus).shuffle_buckets
    readers = bucket_readers(corpus, resolve(LeaveOneOutConfig(), corpus), held)
    own, node_R = ray.get(readers.of.remote(nodes)), np.arange(RANKS) % len(nodes)
    began, all_bytes = time.perf_counter(), 0
    ranks = [
        Rank.options(scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[node], soft=False)).remote(
            corpus.uri, Homes(own, node_R, int(node)), rank
        )
        for rank, node in enumerate(node_R)
    ]
    while all(sizes := ray.get([rank.batch.remote() for rank in ranks])):  # in step, as training is
        all_bytes += sum(sizes)
    traffic = [Traffic(*one) for one in ray.get([reader.traffic.remote() for reader in own])]
    per = EPOCHS * len(nodes)
    log, away = corpus.manifest, 1 - 1 / len(nodes)
    return {
        "read_of_log": sum(one.reads for one in traffic) / log.num_buckets / per,
        "received_bytes": sum(one.sent for one in traffic) / per,
        "received_of_windows": sum(one.sent for one in traffic) / per / (all_bytes / EPOCHS),
        "received_before_bytes": away * log.num_interactions * 16,
        "seconds": time.perf_counter() - began,
    }


@ray.remote(num_cpus=0)
class Rank:
    """Reads its windows of one batch after the other."""

    def __init__(self, uri: str, homes: Homes, rank: int) -> None:
        self._sizes = sizes_of(open_corpus(uri), homes, rank)

    def batch(self) -> int:
        """Bytes of the next batch's windows, 0 where there is none."""
        return next(self._sizes, 0)


def sizes_of(corpus: Corpus, homes: Homes, rank: int) -> Iterator[int]:
    split = resolve(LeaveOneOutConfig(), corpus)
    plan = make_plan(corpus, split, stream(corpus), 1, 0)
    windows = SharedWindows(homes, corpus, split, (), buckets_held(plan.config))
    for epoch in range(EPOCHS):
        for batch in plan.batches(Position(epoch)):
            micros = rank_slice(batch, rank, RANKS, plan.config.micro_tokens)
            yield windows.cut(Windows.concat([micro.windows for micro in micros])).nbytes


if __name__ == "__main__":
    main()
