"""Interactions per second and FLOP utilisation of the bare step on one GPU, at three sizes of the backbone.

    python benchmarks/gpu.py [--steps 30] [--batch-tokens 262144] [--micro-tokens 65536] [--dropout 0.1]

Window lengths follow Zipf's law up to 1,024; only real tokens are counted, those of each step itself. A global batch is
trained on in micro-batches, over sampled and over full softmax; what a thread prepares for the next step is in the
clock. Utilisation is 6 FLOPs for each backbone parameter and token, plus attention and item scores, over the GPU's peak
by its data sheet and over the rate of a large bf16 matrix product of the same run. Running out of memory is a result.
Where there is no GPU it says so. Results go to benchmarks/results/gpu.json; `counted.py` counts what to expect.

Shapes: B windows, T tokens.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.feed.stream import Prefetch
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.sampled import SampledSoftmax, by_counts
from ray_userrep.objectives.softmax import FullSoftmax, ItemSoftmax
from ray_userrep.planner.capacity import GPUS
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.effort import peak_memory, product_rate
from ray_userrep.training.runs import environment
from ray_userrep.training.step import Micros, TrainModel, prepare_micros, train_step

RESULT = Path(__file__).parent / "results" / "gpu.json"
MAX_LEN, NUM_ITEMS, NUM_NEGATIVES, ZIPF, WARMUP, AHEAD = 1024, 100_000, 8192, 1.2, 5, 4
SIZES = {"1M": (128, 5, 2), "30M": (512, 9, 8), "300M": (1024, 24, 16)}  # width, layers, heads
SOFTMAXES = {"sampled": NUM_NEGATIVES, "full": NUM_ITEMS}  # items that a token is scored against


class Load(NamedTuple):
    """What a step trains on: its tokens and the sum of its squared window lengths."""

    micros: Micros
    tokens: int
    squares: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--batch-tokens", type=int, default=262_144)
    arguments.add_argument("--micro-tokens", type=int, default=65_536)
    arguments.add_argument("--dropout", type=float, default=0.1)
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return
    device = torch.device("cuda")
    peaks = {"data sheet": nominal(torch.cuda.get_device_name()), "product": product_rate(device, torch.bfloat16)}
    rows = {
        f"{name}, {softmax}": attempted(partial(measured, size, softmax, options, device, peaks))
        for name, size in SIZES.items()
        for softmax in SOFTMAXES
    }
    told = {"environment": environment(), "options": vars(options), "peak_flops": peaks, "rows": rows}
    RESULT.write_text(json.dumps(told, indent=2) + "\n")
    for name, row in rows.items():
        print(name, row, flush=True)


def nominal(name: str) -> float | None:
    """The dense bf16 peak of a GPU by its data sheet, where it is one of a plan's."""
    found = [gpu.bf16 for key, gpu in GPUS.items() if key.split("-")[0] in name.lower()]
    return found[0] if found else None


def attempted(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured; what is missing when memory runs out is said."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        return {"outcome": "out of memory"}


def measured(
    size: tuple[int, int, int],
    softmax: str,
    options: argparse.Namespace,
    device: torch.device,
    peaks: dict[str, float | None],
) -> dict[str, Any]:
    """Steps of one size."""
    width, num_layers, num_heads = size
    torch.manual_seed(0)
    counts_V = np.maximum(1, 10**7 // np.arange(1, NUM_ITEMS + 1))
    table = ItemTable(pa.table({"item_id": np.arange(NUM_ITEMS), "count": counts_V}))
    backbone = TransformerConfig(num_layers=num_layers, num_heads=num_heads, dropout=options.dropout)
    encoder = build_encoder(EncoderConfig(width=width, backbone=backbone, dropout=options.dropout), table, MAX_LEN)
    sampled = SampledSoftmax(by_counts(counts_V, 0.75), NUM_NEGATIVES)
    loss: ItemSoftmax = sampled if softmax == "sampled" else FullSoftmax()
    objective = Autoregressive(loss)
    engine = BareEngine(TrainModel(encoder, objective), TrainConfig(precision="bf16"), device)
    steps, began, tokens, squares = Prefetch(loads(objective, options, device), AHEAD), 0.0, 0, 0.0
    for number, load in enumerate(steps):
        if number == WARMUP:
            began = _now(device)
        train_step(engine, load.micros, 1e-4)
        if number >= WARMUP:
            tokens, squares = tokens + load.tokens, squares + load.squares
        if number + 1 == WARMUP + options.steps:
            break
    seconds = _now(device) - began
    steps.close()
    parameters = encoder.parameters_by_kind()
    # Causal attention: two products forward, four backward, over half of each window's square.
    flops = 6 * (parameters["backbone"] + width * SOFTMAXES[softmax]) * tokens + 6 * num_layers * width * squares
    return {
        "parameters": parameters,
        "interactions_per_second": tokens / seconds,
        "step_ms": seconds / options.steps * 1e3,
        "utilisation": {name: flops / seconds / peak for name, peak in peaks.items() if peak is not None},
        "peak_memory_bytes": peak_memory(device),
    }


def loads(objective: Autoregressive, options: argparse.Namespace, device: torch.device) -> Iterator[Load]:
    """Global batches without end, prepared as training prepares them."""
    num_micros, step = max(1, options.batch_tokens // options.micro_tokens), 0
    while True:
        lengths = [zipf_lengths(options.batch_tokens // num_micros, step * num_micros + k) for k in range(num_micros)]
        batches = [windows(lengths_B, step * num_micros + k) for k, lengths_B in enumerate(lengths)]
        micros = prepare_micros(objective, batches, Draws(0, 0, step), 0)
        lengths_B = np.concatenate(lengths).astype(float)
        ready = micros.pinned() if device.type == "cuda" else micros
        yield Load(ready, int(lengths_B.sum()), float((lengths_B**2).sum()))
        step += 1


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def zipf_lengths(tokens: int, seed: int) -> np.ndarray:
    """Window lengths whose sum is about the budget."""
    lengths = np.minimum(np.random.default_rng(seed).zipf(ZIPF, tokens), MAX_LEN)
    kept = np.searchsorted(np.cumsum(lengths), tokens)
    return np.maximum(lengths[: max(1, kept)], 1)


def windows(lengths_B: np.ndarray, seed: int) -> Batch:
    """Windows of random items; each carries one item more than it is shown."""
    rng = np.random.default_rng(seed)
    return Batch.of([rng.integers(0, NUM_ITEMS, length + 1) for length in lengths_B])


if __name__ == "__main__":
    main()
