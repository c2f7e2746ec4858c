"""How hard a device works while it trains: its arithmetic, over what a large matrix product reaches there, and memory.

FLOPs are the planner's count, by the lengths of windows as a batch has them: nothing is measured in a step. What a
product reaches is measured once at the start, for some milliseconds: the share means the same on every device.

Shapes: T interactions.
"""

import resource
import time
from typing import NamedTuple

import torch

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.plan import BatchPlan
from ray_userrep.planner.accounting import Catalogue, training_cost
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.step import Engine

_SIZES = {"cpu": 1024, "cuda": 8192}  # of the matrices; larger ones are hardly faster
_TIMES = 3


class Effort(NamedTuple):
    """What an interaction takes of a device, and what that could do, in FLOP/s; None where it is not known."""

    device: torch.device
    flops_per_interaction: float | None
    peak: float | None

    def told(self, interactions_per_second: float) -> dict[str, float]:
        """FLOP/s of a device and their share of its peak, and the most memory that a process has had, in bytes."""
        memory = {"peak_memory_bytes": float(peak_memory(self.device))}
        if self.flops_per_interaction is None or self.peak is None:
            return memory
        flops = self.flops_per_interaction * interactions_per_second
        return {"flops_per_second": flops, "flop_utilisation": flops / self.peak} | memory


def effort(recipe: Recipe, engine: Engine, plan: BatchPlan) -> Effort:
    """What one device does of each interaction that a run trains on."""
    encoder = engine.model.encoder
    if not isinstance(encoder, UserEncoder):
        return Effort(engine.device, None, None)
    catalogue = Catalogue(encoder.config.num_items, encoder.config.text_width)
    cost = training_cost(recipe.encoder, recipe.objective, catalogue, plan.example().length_W)
    half = recipe.train.precision == "bf16"
    peak = product_rate(engine.device, torch.bfloat16 if half else torch.float32)
    return Effort(engine.device, cost.per_interaction / engine.world, peak)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of a few."""
    size = _SIZES[device.type]
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_TIMES):
        _wait(device)
        began = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def peak_memory(device: torch.device) -> int:
    """The most bytes of the device's memory, or on a processor of the process, so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
