"""What a step asks of an H100 at least, counted without one: FLOPs, bytes, what is kept, and the share of the peak.

    python benchmarks/counted.py [--batch-tokens 65536] [--dropout 0.0]

A step of `benchmarks/gpu.py` is traced with tensors that have shapes and no values, with the kernels that a GPU is
given. Each operator takes the longer of its arithmetic at the peak of its type and its bytes at the speed of memory:
what a lookup reads counts as what it returns, and a normalisation as one kernel, as GPUs have it. Launches, caches and
what kernels do not reach of either are left out, so that the time is a lower bound and the share of the peak an upper
one. An operator that needs a value on the host cannot be traced: that none is there is shown beside. Figures go to
benchmarks/results/counted.json.

Shapes: B windows, T tokens.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
from gpu import MAX_LEN, NUM_ITEMS, NUM_NEGATIVES, SIZES, windows, zipf_lengths
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder import device
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Draws, identity_gather
from ray_userrep.objectives.sampled import SampledSoftmax, by_counts
from ray_userrep.planner.capacity import GPUS
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.runs import environment
from ray_userrep.training.step import Micros, TrainModel, prepare_micros, train_step

RESULT = Path(__file__).parent / "results" / "counted.json"
GPU: Final = "h100"
BANDWIDTH = 3.35e12  # bytes/s of the SXM's memory, by its data sheet
_NOTHING = ("prim.device", "aten.empty", "aten.new_empty", "aten.detach", "aten._unsafe_view", "aten.lift_fresh")
_LOOKUPS = ("aten.embedding", "aten.index_select", "aten.index", "aten.gather")
_BACKWARD = 2.5  # products of fused attention's backward pass over those forward


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--batch-tokens", type=int, default=65536)
    arguments.add_argument("--dropout", type=float, default=0.0)
    options = arguments.parse_args()
    with gpu_kernels():
        rows = {name: counted(size, options.batch_tokens, options.dropout) for name, size in SIZES.items()}
    told = {"environment": environment(use_gpu=False), "gpu": GPU, "options": vars(options), "rows": rows}
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    for name, row in rows.items():
        print(
            f"{name:5s} {row['milliseconds']:7.1f} ms at least, {row['share_of_peak']:.3f} of the peak, "
            f"{row['kernels']:,} kernels, {row['bytes'] / 1e9:,.0f} GB moved, "
            f"{row['kept_per_token_and_layer'] / 1024:.1f} KiB kept"
        )


@dataclass
class Cost:
    """Calls, FLOPs, bytes and seconds of one kind of operator."""

    calls: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


class Costs(TorchDispatchMode):
    """Adds up what operators cost; `squares` is the sum of squared window lengths, which attention pays for."""

    def __init__(self, squares: float) -> None:
        super().__init__()
        self.squares = squares
        self.by_operator: dict[str, Cost] = defaultdict(Cost)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = operator(*args, **(kwargs or {}))
        name = str(operator._overloadpacket)
        if operator.is_view or name.startswith(_NOTHING):
            return result
        read, written = (
            list({id(x): x for x in tree_leaves(part) if isinstance(x, Tensor)}.values())
            for part in ((args, kwargs), result)
        )
        if not read and not written:
            return result
        dtype = (read or written)[0].dtype
        num_bytes = 2 * _bytes(written) if name in _LOOKUPS else _bytes(read) + _bytes(written)
        flops = self._flops(operator, args, kwargs, result)
        peak = GPUS[GPU].bf16 if dtype == torch.bfloat16 else GPUS[GPU].fp32
        cost = self.by_operator[f"{name} {str(dtype).removeprefix('torch.')}"]
        cost.calls += 1
        cost.flops += flops
        cost.bytes += num_bytes
        cost.seconds += max(flops / peak, num_bytes / BANDWIDTH)
        return result

    def _flops(self, operator: Any, args: Any, kwargs: Any, result: Any) -> float:
        packet = operator._overloadpacket
        if "_varlen_attn" in str(packet):
            _, heads, width = args[0].shape
            forward = 2 * 2 * heads * width * self.squares / 2  # causal
            return forward * (_BACKWARD if "backward" in str(packet) else 1)
        if packet not in flop_registry:
            return 0.0
        return float(flop_registry[packet](*args, **(kwargs or {}), out_val=result))


def _bytes(tensors: list[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def counted(size: tuple[int, int, int], batch_tokens: int, dropout: float) -> dict[str, Any]:
    """A step of one size of the backbone."""
    width, num_layers, num_heads = size
    counts_V = np.maximum(1, 10**7 // np.arange(1, NUM_ITEMS + 1))
    table, lengths_B = (
        ItemTable(pa.table({"item_id": np.arange(NUM_ITEMS), "count": counts_V})),
        zipf_lengths(batch_tokens, 0),
    )
    objective = Autoregressive(SampledSoftmax(by_counts(counts_V, 0.75), NUM_NEGATIVES))
    micros = prepare_micros(objective, [windows(lengths_B, 0)], Draws(0, 0, 0), 0)
    backbone = TransformerConfig(num_layers=num_layers, num_heads=num_heads, dropout=dropout)
    tokens, squares = int(lengths_B.sum()), float((lengths_B.astype(float) ** 2).sum())
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        encoder = build_encoder(EncoderConfig(width=width, backbone=backbone, dropout=dropout), table, MAX_LEN)
        config = TrainConfig(precision="bf16")
        engine, micros = BareEngine(_Placed(encoder, objective), config, torch.device("cpu")), shapes_of(micros, mode)
        train_step(engine, micros, 1e-4)  # what is made once
        kept = kept_bytes(engine, micros)
        with Costs(squares) as costs:
            train_step(engine, micros, 1e-4)
    parameters, found = encoder.parameters_by_kind(), costs.by_operator
    flops = 6 * (parameters["backbone"] + width * NUM_NEGATIVES) * tokens + 6 * num_layers * width * squares
    seconds = sum(cost.seconds for cost in found.values())
    longest = sorted(found.items(), key=lambda item: -item[1].seconds)[:12]
    return {
        "parameters": parameters,
        "tokens": tokens,
        "model_flops": flops,
        "bytes": sum(cost.bytes for cost in found.values()),
        "kernels": sum(cost.calls for cost in found.values()),
        "kept_per_token_and_layer": kept / tokens / num_layers,
        "milliseconds": seconds * 1e3,
        "share_of_peak": flops / seconds / GPUS[GPU].bf16,
        "longest": {name: {"calls": c.calls, "bytes": c.bytes, "ms": c.seconds * 1e3} for name, c in longest},
    }


class _Placed(TrainModel[Any]):
    """It stays where it is: tensors without values cannot be moved."""

    def to(self, *args: Any, **kwargs: Any) -> "_Placed":
        return self


def shapes_of(micros: Micros, mode: FakeTensorMode) -> Micros:
    """The same without values."""

    def of(view: Batch) -> Batch:
        side, labels = (
            dict[str, Tensor](zip(part, map(mode.from_tensor, part.values()), strict=True))
            for part in (view.side, view.labels)
        )
        values_T, offsets_B1, users_B = (mode.from_tensor(x) for x in (view.values_T, view.offsets_B1, view.users_B))
        return replace(view, values_T=values_T, offsets_B1=offsets_B1, users_B=users_B, side=side, labels=labels)

    views = [[of(view) for view in views] for views in micros.views]
    return micros._replace(views=views, counts_P=mode.from_tensor(micros.counts_P))


def kept_bytes(engine: BareEngine, micros: Micros) -> int:
    """What autograd keeps for the backward pass, parameters not counted."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if not isinstance(x, torch.nn.Parameter):
            kept[x.untyped_storage()._cdata] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss, _ = engine.forward(micros.views[0], micros.counts_P, identity_gather)
        total = sum(kept.values())
        del loss
    return total


@torch.library.custom_op("counted::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight_D: Tensor) -> tuple[Tensor, Tensor]:
    """One kernel, as on a GPU; it is only traced."""
    raise NotImplementedError


@torch.library.custom_op("counted::rms_norm_backward", mutates_args=())
def rms_norm_backward(grad: Tensor, x: Tensor, scale: Tensor, weight_D: Tensor) -> tuple[Tensor, Tensor]:
    """Its gradient."""
    raise NotImplementedError


@rms_norm.register_fake
def _(x: Tensor, weight_D: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(*x.shape[:-1], 1)


@rms_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, scale: Tensor, weight_D: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight_D)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _back(ctx: Any, grad: Tensor, _: Tensor) -> Any:
    x, weight_D, scale = ctx.saved_tensors
    return rms_norm_backward(grad, x, scale, weight_D)


rms_norm.register_autograd(_back, setup_context=_keep)


@contextmanager
def gpu_kernels() -> Iterator[None]:
    """Tensors are given the kernels of GPUs, wherever they are."""
    norm = patch.object(torch.nn.functional, "rms_norm", lambda x, shape, weight, eps: rms_norm(x, weight)[0])
    with norm, patch.object(device, "on_gpu", lambda x: True):
        yield


if __name__ == "__main__":
    main()
