"""What a sample of users costs to read, where buckets follow one another in the order it is taken in and where not.

    python benchmarks/samples.py [--interactions 32000000] [--buckets 16] [--users 1000 10000] [--repeats 3]

The same random sequences are written to two local corpora, one of a power of two of buckets and one of a bucket less,
whose samples are found by reading all of them. Validation histories are read in turn, several times over; medians
count. Both must be of the same users. Figures go to benchmarks/results/samples.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from feed import write_corpus
from running import RESULTS

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.training.runs import environment


class Counted(Corpus):
    """A corpus that counts what is read of its sequences."""

    buckets_read = 0

    def bucket(self, number: int, side: Any = ()) -> Bucket:
        """One bucket, counted."""
        self.buckets_read += 1
        return super().bucket(number, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=32_000_000)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--users", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", help="folder for the corpora; empty: the system's")
    options = parser.parse_args()
    found: dict[str, Any] = {"environment": environment(False), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        numbers = {"power of two": options.buckets, "a bucket less": options.buckets - 1}
        corpora = {name: write_corpus(f"{folder}/{n}", options.interactions, n) for name, n in numbers.items()}
        first = next(iter(corpora.values())).manifest
        found |= {"interactions": first.num_interactions, "users": first.num_users, "buckets": numbers}
        found["samples"] = {str(users): beside(corpora, users, options.repeats) for users in options.users}
    (RESULTS / "samples.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["samples"], indent=1))


def beside(corpora: dict[str, Corpus], max_users: int, repeats: int) -> dict[str, Any]:
    """Median seconds and buckets read by corpus, and their ratio."""
    seconds: dict[str, list[float]] = {name: [] for name in corpora}
    buckets, users = {}, {}
    for _ in range(repeats):
        for name, corpus in corpora.items():
            counted = Counted(corpus.uri, corpus.manifest)
            began = time.perf_counter()
            histories = read_histories(counted, resolve(LeaveOneOutConfig(), corpus), "valid", max_users)
            seconds[name].append(time.perf_counter() - began)
            buckets[name], users[name] = counted.buckets_read, np.sort(histories.users_U)
    one, other = users.values()
    assert np.array_equal(one, other), "a sample is the same users whatever the number of buckets"
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    fast, slow = medians.values()
    return {"seconds": medians, "buckets read": buckets, "ratio": slow / fast}


if __name__ == "__main__":
    main()
