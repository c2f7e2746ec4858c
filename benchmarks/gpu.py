"""Interactions per second and model FLOP utilisation of the bare step on one GPU, at three sizes of the backbone.

    python benchmarks/gpu.py [--steps 30] [--batch-tokens 65536]

Window lengths follow Zipf's law up to 1,024; only real tokens are counted. Utilisation is 6 FLOPs for each backbone
parameter and token, plus attention and item scores, over the rate of a large bf16 matrix product measured in the same
run. Running out of memory is a result. Where there is no GPU it says so. Results go to benchmarks/results/gpu.json.

Shapes: B windows, T tokens.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.sampled import SampledSoftmax, by_counts
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.runs import environment
from ray_userrep.training.step import TrainModel, prepare_micros, train_step

RESULT = Path(__file__).parent / "results" / "gpu.json"
MAX_LEN, NUM_ITEMS, NUM_NEGATIVES, ZIPF, WARMUP = 1024, 100_000, 8192, 1.2, 5
SIZES = {"1M": (128, 5, 2), "30M": (512, 9, 8), "300M": (1024, 24, 16)}  # width, layers, heads


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--batch-tokens", type=int, default=65536)
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return
    peak = matrix_product_rate(torch.device("cuda"))
    rows = {name: measure(size, options.batch_tokens, options.steps, peak) for name, size in SIZES.items()}
    RESULT.write_text(json.dumps({"environment": environment(), "peak_flops": peak, "rows": rows}, indent=2) + "\n")
    for name, row in rows.items():
        print(name, row, flush=True)


def measure(size: tuple[int, int, int], batch_tokens: int, steps: int, peak: float) -> dict[str, Any]:
    """The median step of one size; what is missing when memory runs out is said."""
    try:
        return _measure(size, batch_tokens, steps, peak)
    except torch.OutOfMemoryError:
        return {"outcome": "out of memory"}


def _measure(size: tuple[int, int, int], batch_tokens: int, steps: int, peak: float) -> dict[str, Any]:
    width, num_layers, num_heads = size
    device, config = torch.device("cuda"), TrainConfig(precision="bf16")
    torch.manual_seed(0)
    counts_V = np.maximum(1, 10**7 // np.arange(1, NUM_ITEMS + 1))
    table = ItemTable(pa.table({"item_id": np.arange(NUM_ITEMS), "count": counts_V}))
    backbone = TransformerConfig(num_layers=num_layers, num_heads=num_heads, dropout=0.0)
    encoder = build_encoder(EncoderConfig(width=width, backbone=backbone, dropout=0.0), table, MAX_LEN)
    objective = Autoregressive(SampledSoftmax(by_counts(counts_V, 0.75), NUM_NEGATIVES))
    engine = BareEngine(TrainModel(encoder, objective), config, device)
    seconds, tokens, squares = [], 0, 0
    for step in range(WARMUP + steps):
        lengths_B = zipf_lengths(batch_tokens, step)
        micros = prepare_micros(objective, [windows(lengths_B, step)], Draws(0, 0, step), 0)
        torch.cuda.synchronize()
        began = time.perf_counter()
        train_step(engine, micros, 1e-4)
        torch.cuda.synchronize()
        if step >= WARMUP:
            seconds.append(time.perf_counter() - began)
            tokens, squares = int(lengths_B.sum()), int((lengths_B**2).sum())
    parameters = encoder.parameters_by_kind()
    # Causal attention: two products forward, four backward, over half of each window's square.
    flops = 6 * (parameters["backbone"] + width * NUM_NEGATIVES) * tokens + 6 * num_layers * width * squares
    step_seconds = statistics.median(seconds)
    return {
        "parameters": parameters,
        "interactions_per_second": tokens / step_seconds,
        "step_ms": step_seconds * 1e3,
        "mfu": flops / step_seconds / peak,
        "peak_memory_bytes": torch.cuda.max_memory_allocated(),
    }


def zipf_lengths(tokens: int, seed: int) -> np.ndarray:
    """Window lengths whose sum is about the budget."""
    lengths = np.minimum(np.random.default_rng(seed).zipf(ZIPF, tokens), MAX_LEN)
    kept = np.searchsorted(np.cumsum(lengths), tokens)
    return np.maximum(lengths[: max(1, kept)], 1)


def windows(lengths_B: np.ndarray, seed: int) -> Batch:
    """Windows of random items; each carries one item more than it is shown."""
    rng = np.random.default_rng(seed)
    return Batch.of([rng.integers(0, NUM_ITEMS, length + 1) for length in lengths_B])


def matrix_product_rate(device: torch.device) -> float:
    """FLOP/s of a large bf16 matrix product, the best of several."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * 8192**3 / best


if __name__ == "__main__":
    main()
