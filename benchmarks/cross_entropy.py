"""Peak memory and time of full cross-entropy with its gradients: plain against chunked, and chunked at 1M items.

    python benchmarks/cross_entropy.py

Each measurement has a process of its own. Peaks are its high-water mark over what it held with states and item table
in place and the kernels warm. The result goes to benchmarks/results/cross_entropy.json.

Shapes: T tokens, D width, V items.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from ray_userrep.objectives.softmax import chunked_cross_entropy

WIDTH = 64
CASES = {
    "plain, 131,072 items": ("plain", 131_072, 4096),
    "chunked, 131,072 items": ("chunked", 131_072, 4096),
    "chunked, 1,000,000 items": ("chunked", 1_000_000, 512),
}
RESULT = Path(__file__).parent / "results" / "cross_entropy.json"


def main() -> None:
    from ray_userrep.training.runs import environment

    rows = {name: measure(*case) for name, case in CASES.items()}
    for name, row in rows.items():
        print(f"{name:26s} {row['peak_bytes'] / 2**20:8.0f} MiB  {row['seconds']:6.2f} s  {row['tokens']} tokens")
    plain, chunked, _ = rows.values()
    print(f"chunked / plain memory = {chunked['peak_bytes'] / plain['peak_bytes']:.3f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": environment(), "width": WIDTH, "rows": rows}, indent=2))


def measure(way: str, num_items: int, num_tokens: int) -> dict[str, Any]:
    """Run one case in a fresh process."""
    command = [sys.executable, __file__, way, str(num_items), str(num_tokens)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(way: str, num_items: int, num_tokens: int) -> dict[str, Any]:
    """Loss and gradients once; the peak is over the inputs, so that it holds the gradients."""
    loss_of = {"plain": plain_cross_entropy, "chunked": chunked_cross_entropy}[way]
    loss_of(*inputs(100, 100)).backward()
    states_TD, table_VD, targets_T = inputs(num_items, num_tokens)
    before, began = status("VmRSS"), time.perf_counter()
    loss_of(states_TD, table_VD, targets_T).backward()
    return {
        "seconds": time.perf_counter() - began,
        "peak_bytes": status("VmHWM") - before,
        "table_bytes": table_VD.nbytes,
        "items": num_items,
        "tokens": num_tokens,
    }


def inputs(num_items: int, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    states_TD = torch.empty(num_tokens, WIDTH).normal_().requires_grad_()
    table_VD = torch.empty(num_items, WIDTH).normal_(std=0.1).requires_grad_()
    return states_TD, table_VD, torch.randint(num_items, (num_tokens,))


def plain_cross_entropy(states_TD: torch.Tensor, table_VD: torch.Tensor, targets_T: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(states_TD @ table_VD.T, targets_T, reduction="sum")


def status(field: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
