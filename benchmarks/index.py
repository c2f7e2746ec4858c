"""How much of the true ten nearest an index finds, and how much faster than a search of all, by the number of vectors.

    python benchmarks/index.py --vectors 1000000
    python benchmarks/index.py --vectors 10000000

Vectors have 128 numbers and lie in clusters, as many as the root of their number: a cluster's centre is normal in all
directions, what lies around it is normal with a variance that falls as one over the direction's rank, half as long as
the centre on average; all are brought to length one. Queries are drawn from the vectors. A call measures one number of
vectors in a process of its own, whose peak of memory it takes, and adds it to benchmarks/results/index.json.
"""

import argparse
import json
import resource
from typing import Any

import numpy as np
from numpy.typing import NDArray
from running import RESULTS

from ray_userrep.embedding.index import unit
from ray_userrep.embedding.indexing import indexed
from ray_userrep.training.runs import environment

WIDTH, SPREAD, CHUNK = 128, 0.5, 100_000


def drawn(number: int, seed: int = 0) -> NDArray[np.float32]:
    """Clustered vectors of length one, `[N, F]`."""
    rng = np.random.default_rng(seed)
    centres_CF = unit(rng.standard_normal((round(number**0.5), WIDTH), np.float32))
    scale_F = (1 / np.arange(1, WIDTH + 1)) ** 0.5
    scale_F = (SPREAD * scale_F / np.linalg.norm(scale_F)).astype(np.float32)
    x_NF = np.empty((number, WIDTH), np.float32)
    for first in range(0, number, CHUNK):
        part = x_NF[first : first + CHUNK]
        around = rng.standard_normal(part.shape, np.float32) * scale_F
        part[:] = unit(centres_CF[rng.integers(len(centres_CF), size=len(part))] + around)
    return x_NF


def measured(number: int, recall: float) -> dict[str, Any]:
    """The figures of an index of so many vectors, and the peak of this process's memory (GB)."""
    _, figures = indexed(drawn(number), recall)
    return figures | {"peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--vectors", type=int, required=True)
    arguments.add_argument("--recall", type=float, default=0.95)
    options = arguments.parse_args()
    place = RESULTS / "index.json"
    kept = json.loads(place.read_text()) if place.exists() else {}
    figures = measured(options.vectors, options.recall) | {"environment": environment(use_gpu=False)}
    kept = dict(sorted((kept | {str(options.vectors): figures}).items(), key=lambda one: int(one[0])))
    place.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
