"""Users ranked a second over large catalogues, beside the bare products in blocks that cannot be done without.

    python benchmarks/ranking.py [--items 1000000] [--users 10000] [--repeats 3]

Vectors of 64 numbers and histories of 50 items are drawn; seen items are left out, as `sasrec` does. Both take turns,
in one process on one thread; medians count. Figures go to benchmarks/results/ranking.json.

Shapes: U users, B users of a chunk, V items, D width.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from running import RESULTS
from torch import Tensor

from ray_userrep.evaluation.histories import Histories
from ray_userrep.evaluation.ranking import product_scorer, ranks
from ray_userrep.training.runs import environment

WIDTH, LENGTH = 64, 50
USERS_AT_ONCE, ITEMS_AT_ONCE = 512, 8192  # what multiplies fastest here


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--items", type=int, default=1_000_000)
    arguments.add_argument("--users", type=int, default=10_000)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table_VD, users_UD = torch.randn(options.items, WIDTH), torch.randn(options.users, WIDTH)
    histories = drawn(options.users, options.items)
    scorer = product_scorer(lambda part: users_UD[torch.from_numpy(part.users_U)], table_VD)
    ways: dict[str, Callable[[], object]] = {
        "ranks": lambda: ranks(scorer, histories, options.items, exclude_seen=True),
        "products": lambda: products(users_UD, table_VD),
    }
    found = [{name: seconds(way) for name, way in ways.items()} for _ in range(options.repeats)]
    rates = {name: options.users / statistics.median(one[name] for one in found) for name in ways}
    row = {"items": options.items, "users": options.users, "users_per_second": rates}
    row["ratio"] = rates["ranks"] / rates["products"]
    print(json.dumps(row, indent=1))
    place = RESULTS / "ranking.json"
    rows = json.loads(place.read_text())["rows"] if place.exists() else []
    rows = [one for one in rows if one["items"] != options.items] + [row]
    place.write_text(json.dumps({"environment": environment(False), "load": load, "rows": rows}, indent=1) + "\n")


def drawn(num_users: int, num_items: int) -> Histories:
    rng = np.random.default_rng(0)
    items_N, places_N = rng.integers(num_items, size=num_users * LENGTH), np.arange(num_users * LENGTH)
    offsets_U1 = np.arange(0, num_users * LENGTH + 1, LENGTH)
    targets_U = rng.integers(num_items, size=num_users)
    return Histories(items_N, places_N, offsets_U1, np.arange(num_users), targets_U=targets_U)


def products(users_UD: Tensor, table_VD: Tensor) -> None:
    room = torch.empty(USERS_AT_ONCE, ITEMS_AT_ONCE)
    for users_BD in users_UD.split(USERS_AT_ONCE):
        for items_CD in table_VD.split(ITEMS_AT_ONCE):
            torch.mm(users_BD, items_CD.T, out=room[: len(users_BD), : len(items_CD)])


def seconds(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
