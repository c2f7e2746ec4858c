"""Peak memory of a rank while a large model is initialised: built whole on each rank, or partitioned as it is built.

    python benchmarks/zero_init.py

Two workers, ZeRO-3, about 100M backbone parameters. Peaks are each process's own high-water mark over what it held
before the model was built. The result goes to benchmarks/results/zero_init.json.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.config import EncoderConfig, TransformerConfig
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.softmax import FullSoftmax
from ray_userrep.training import zero
from ray_userrep.training.config import TrainConfig, ZeroConfig
from ray_userrep.training.runs import environment
from ray_userrep.training.step import TrainModel

WORLD = 2
RESULT = Path(__file__).parent / "results" / "zero_init.json"


def main() -> None:
    rows = {name: measure(init) for name, init in (("whole", False), ("partitioned", True))}
    ratio = rows["partitioned"]["peak_bytes"] / rows["whole"]["peak_bytes"]
    for name, row in rows.items():
        print(f"{name:12s} {row['peak_bytes'] / 2**20:8.0f} MiB a rank  ({row['parameters']:,} backbone parameters)")
    print(f"partitioned / whole = {ratio:.2f}; exported weights equal: {rows['partitioned']['equal']}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": environment(), "rows": rows, "ratio": ratio}, indent=2))


def measure(init: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (init, folder), nprocs=WORLD)
        rows = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(WORLD)]
    return {**rows[0], "peak_bytes": max(row["peak_bytes"] for row in rows)}
