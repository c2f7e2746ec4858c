"""Peak memory of a rank while a large model is initialised: built whole on each rank, or partitioned as it is built.

    python benchmarks/zero_init.py

Two workers, ZeRO-3, about 100M backbone parameters. Peaks are each process's own high-water mark over what it held
before the model was built: once the model is there, and once DeepSpeed has made its master weights, gradients and
optimiser states, which are partitioned either way. The result goes to benchmarks/results/zero_init.json.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ray_userrep.corpus.items import ItemTable
from ray_userrep.distributed import zero
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.softmax import FullSoftmax
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.train import TrainConfig, ZeroConfig
from ray_userrep.training.runs import environment
from ray_userrep.training.step import TrainModel

WORLD = 2
RESULT = Path(__file__).parent / "results" / "zero_init.json"


def main() -> None:
    os.environ |= zero.INIT_ENVIRONMENT  # as the trainer starts such workers
    rows = {name: measure(init) for name, init in (("whole", False), ("partitioned", True))}
    ratio = rows["partitioned"]["peak_bytes"] / rows["whole"]["peak_bytes"]
    for name, row in rows.items():
        print(
            f"{name:12s} {row['peak_bytes'] / 2**20:6.0f} MiB a rank to build the model, "
            f"{row['engine_peak_bytes'] / 2**20:6.0f} MiB until the engine is ready"
        )
    print(f"{rows['whole']['parameters']:,} backbone parameters")
    print(f"partitioned / whole = {ratio:.2f}; exported weights equal: {rows['partitioned']['equal']}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": environment(), "rows": rows, "ratio": ratio}, indent=2))


def measure(init: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (init, folder), nprocs=WORLD)
        rows = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(WORLD)]
    return rows[0] | {peak: max(row[peak] for row in rows) for peak in ("peak_bytes", "engine_peak_bytes")}


def _rank(rank: int, init: bool, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577", "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    zero.quiet()
    config = TrainConfig(zero=ZeroConfig(stage=3, init=init))
    with zero.partitioned_init(config):
        torch.nn.Linear(8, 8)  # what the libraries load on first use is not the model's
    before = _high_water()
    with zero.partitioned_init(config):
        model = TrainModel(large_encoder(), Autoregressive(FullSoftmax()))
    peak = _high_water() - before
    engine = zero.ZeroEngine(model, config, torch.device("cpu"))
    engine_peak = _high_water() - before
    state = engine.encoder_state()
    equal = None if state is None else _exports_equal(engine.model.encoder, state, folder)
    row = {
        "peak_bytes": peak,
        "engine_peak_bytes": engine_peak,
        "parameters": engine.model.encoder.parameters_by_kind()["backbone"],
        "equal": equal,
    }
    (Path(folder) / f"{rank}.json").write_text(json.dumps(row))
    dist.barrier()
    os._exit(0)  # DeepSpeed's helper threads do not all end with the interpreter


def large_encoder() -> UserEncoder:
    """About 100M backbone parameters over a small catalogue."""
    torch.manual_seed(0)
    config = EncoderConfig(width=1024, backbone=TransformerConfig(num_layers=8, num_heads=16))
    return build_encoder(config, ItemTable(pa.table({"item_id": np.arange(1000), "count": np.ones(1000, int)})), 64)


def _exports_equal(encoder: UserEncoder, state: dict[str, torch.Tensor], folder: str) -> bool:
    """Whether the encoder loaded from an export has the weights of one that was built whole."""
    encoder.save_pretrained(Path(folder) / "encoder", state_dict=state)
    loaded, whole = UserEncoder.from_pretrained(Path(folder) / "encoder"), large_encoder()
    return all(torch.equal(a, b) for a, b in zip(loaded.parameters(), whole.parameters(), strict=True))


def _high_water() -> int:
    """Peak resident bytes of this process so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
