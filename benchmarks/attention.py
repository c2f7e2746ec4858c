"""Attention on a processor by how much padding its groups may have: fewer groups, more padded places.

    python benchmarks/attention.py [--repeats 10]

Windows as long as those of Beauty (short, many lengths) or of ML-1M (up to 200); layout, turning, attention and its
gradient, both passes of a layer, one thread. All amounts of padding take turns on the same batches, medians count.
Figures go to benchmarks/results/attention.json.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from running import RESULTS

from ray_userrep.encoder.backbones.attention import attend, attention_layout
from ray_userrep.encoder.backbones.rotary import rotary_turn
from ray_userrep.training.runs import environment

SPARE = (0, 2048, 4096, 8192, 16384)  # numbers
SHAPES = ((64, 2), (128, 2), (256, 4))  # numbers of a token, heads
BATCHES, USERS = 6, 128
Lengths = NDArray[np.int64]


def short(rng: np.random.Generator) -> Lengths:
    return np.minimum(rng.geometric(0.18, USERS) + 2, 50)


def long(rng: np.random.Generator) -> Lengths:
    return np.minimum(rng.pareto(1.0, USERS) * 40 + 18, 200).astype(np.int64)


WINDOWS: dict[str, Callable[[np.random.Generator], Lengths]] = {"as of Beauty": short, "as of ML-1M": long}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"environment": environment(False), "load": os.getloadavg()[0], "rows": []}
    for windows in WINDOWS:
        for width, heads in SHAPES:
            report["rows"].append(compared(windows, width, heads, options.repeats))
            print(json.dumps(report["rows"][-1]), flush=True)
    (RESULTS / "attention.json").write_text(json.dumps(report, indent=1) + "\n")


def compared(windows: str, width: int, heads: int, repeats: int) -> dict[str, Any]:
    """Medians of milliseconds by what is spare, and the groups of the last batch."""
    rng = np.random.default_rng(0)
    batches = [WINDOWS[windows](rng) for _ in range(BATCHES)]
    seconds: dict[int, list[float]] = {spare: [] for spare in SPARE}
    groups: dict[int, int] = {}
    for lengths_B in batches * repeats:
        for spare in SPARE:
            took, groups[spare] = timed(lengths_B, width, heads, spare // width)
            seconds[spare].append(took)
    medians = {spare: 1e3 * statistics.median(found) for spare, found in seconds.items()}
    ratios = {spare: median / medians[0] for spare, median in medians.items()}
    return {"windows": windows, "width": width, "ms": medians, "ratio": ratios, "groups": groups}


def timed(lengths_B: Lengths, width: int, heads: int, spare: int) -> tuple[float, int]:
    """Seconds of one layer on a batch, and its groups."""
    offsets_B1 = torch.tensor([0, *np.cumsum(lengths_B)], dtype=torch.int32)
    num_tokens = int(offsets_B1[-1])
    qkv = torch.randn(num_tokens, 3, heads, width // heads, requires_grad=True)
    gradient = torch.randn(num_tokens, heads, width // heads)
    position_T = torch.cat([torch.arange(int(length)) for length in lengths_B])
    began = time.perf_counter()
    layout = attention_layout(offsets_B1, int(lengths_B.max()), causal=True, varlen=False, spare=spare)
    turn = rotary_turn(layout.at_places(position_T), width // heads)
    attend(qkv, layout, turn).backward(gradient)
    return time.perf_counter() - began, len(layout.groups or [])


if __name__ == "__main__":
    main()
