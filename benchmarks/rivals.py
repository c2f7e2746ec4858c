"""Time of the cross-entropy of a truth among rivals with its gradients: in chunks, beside the plain one.

    python benchmarks/rivals.py [--repeats 20]

Sizes: 128 drawn items for each of 6,400 interactions, 1,024 for 2,048, and all of a batch of 2,048 against all of it.
One thread; both take turns in one process, which keeps the memory that it frees, as training does; medians count.
Figures go to benchmarks/results/rivals.json.

Shapes: T states, K rivals, D width.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import torch
from running import RESULTS
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.objectives.rivals import rival_cross_entropy
from ray_userrep.training.runs import environment

WIDTH, NUM_ITEMS = 64, 12_000
CASES = {"128 drawn": (6400, 128), "1,024 drawn": (2048, 1024), "a batch against itself": (2048, 2048)}
Loss = Callable[..., Tensor]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeats", type=int, default=20)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    rows = {name: compared(*sizes, options.repeats) for name, sizes in CASES.items()}
    report = {"environment": environment(use_gpu=False), "load": load, "width": WIDTH, "rows": rows}
    (RESULTS / "rivals.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, row in rows.items():
        print(f"{name:24s} plain {row['plain_ms']:6.1f} ms  in chunks {row['chunked_ms']:6.1f} ms  {row['ratio']:.2f}")


def compared(num_states: int, num_rivals: int, repeats: int) -> dict[str, float]:
    """Medians of both in turn, and how many times as long the plain one takes."""
    torch.manual_seed(0)
    learned = [torch.randn(num_states), torch.randn(num_states, WIDTH) / 8, torch.randn(num_rivals, WIDTH)]
    learned = [one.requires_grad_() for one in learned]
    keys = [torch.randint(NUM_ITEMS, (number,)) for number in (num_states, num_rivals)]
    given = [*learned, *keys, torch.zeros(num_rivals)]
    for loss in (plain, rival_cross_entropy):  # warm
        seconds(loss, given)
    turns = [(seconds(plain, given), seconds(rival_cross_entropy, given)) for _ in range(repeats)]
    before, after = (statistics.median(found) * 1e3 for found in zip(*turns, strict=True))
    return {
        "states": num_states,
        "rivals": num_rivals,
        "plain_ms": before,
        "chunked_ms": after,
        "ratio": before / after,
    }


def seconds(loss: Loss, given: list[Tensor]) -> float:
    began = time.perf_counter()
    loss(*given).backward()
    return time.perf_counter() - began


def plain(
    positive_T: Tensor, states_TD: Tensor, rivals_KD: Tensor, key_T: Tensor, key_K: Tensor, offset_K: Tensor
) -> Tensor:
    """As it is defined, with all scores at once."""
    scores_TK = (states_TD @ rivals_KD.T + offset_K).masked_fill(key_T[:, None] == key_K, float("-inf"))
    logits_TK1 = torch.cat([positive_T[:, None], scores_TK], 1)
    return F.cross_entropy(logits_TK1, torch.zeros(len(states_TD), dtype=torch.long), reduction="sum")


if __name__ == "__main__":
    main()
