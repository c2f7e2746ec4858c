"""A recipe and hardware to memory, hours and cost, on paper: what to know before a cluster is rented.

Every figure is arithmetic on the recipe; what cannot be known from it (utilisation, prices) is asked for and listed
among the assumptions. Communication is not hidden behind products, as the engine does not overlap them: an upper bound.
"""

from typing import Any, NamedTuple

import numpy as np

from ray_userrep.planner import footprint, memory
from ray_userrep.planner.accounting import Catalogue, backbone_parameters, training_cost
from ray_userrep.planner.ladder import settings, shape_of
from ray_userrep.planner.memory import Memory
from ray_userrep.recipe.objective import AutoregressiveConfig, InBatchSoftmaxConfig, ObjectiveConfig
from ray_userrep.recipe.plan import GpuName, PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import ZeroConfig


class Gpu(NamedTuple):
    """Memory in bytes, dense peaks in FLOP/s, and what one GPU sends to the others of its node in bytes/s."""

    memory: float
    bf16: float
    fp32: float
    link: float


# Data sheets of NVIDIA: dense tensor-core bf16, fp32 without tf32, one direction of NVLink, or of PCIe 4.0 x16.
GPUS: dict[GpuName, Gpu] = {
    "a10g": Gpu(24e9, 70e12, 35e12, 25e9),
    "l4": Gpu(24e9, 121e12, 30e12, 25e9),
    "a100-40": Gpu(40e9, 312e12, 19.5e12, 300e9),
    "a100-80": Gpu(80e9, 312e12, 19.5e12, 300e9),
    "h100": Gpu(80e9, 989e12, 67e12, 450e9),
    "h200": Gpu(141e9, 989e12, 67e12, 450e9),
}


_FP32 = 4
_ACROSS = 7 / 3  # work of three passes forward and two backward over that of one each: cached gradients
_SMALLEST, _LARGEST, _HALVINGS = 1e4, 1e12, 12
_MOST_TOKENS = 26  # as a power of two
WAYS = {
    "ZeRO-0": ZeroConfig(),
    "ZeRO-1": ZeroConfig(stage=1),
    "ZeRO-2": ZeroConfig(stage=2),
    "ZeRO-2, optimiser offloaded": ZeroConfig(stage=2, offload_optimizer="cpu"),
    "ZeRO-3": ZeroConfig(stage=3),
    "ZeRO-3, all offloaded": ZeroConfig(stage=3, offload_optimizer="cpu", offload_parameters="cpu"),
}


class StepLoad(NamedTuple):
    """What one step is: tokens of a worker, micro-batches, FLOPs of all workers."""

    tokens: float
    micros: int
    flops: float


def plan_capacity(recipe: Recipe, config: PlanConfig) -> dict[str, Any]:
    """Memory, time, cost and the largest backbone for each way to partition, with the assumptions.

    Raises:
        UserError: the backbone or the objective is one whose memory is not known.
    """
    ways = {name: _way(recipe, config, zero) for name, zero in WAYS.items()}
    encoder = recipe.encoder
    return {
        "parameters": {
            "backbone": backbone_parameters(encoder.backbone, encoder.width, recipe.stream.max_len),
            "embedding": memory.item_parameters(encoder, _catalogue(config)),
        },
        "gpus": config.world,
        "ways": ways,
        "data": _data(recipe, config),
        "corpus": footprint.told(recipe, config),
        "assumptions": assumptions(recipe, config),
    }


def _way(recipe: Recipe, config: PlanConfig, zero: ZeroConfig) -> dict[str, Any]:
    held = memory_of(recipe, config, zero)
    seconds = step_seconds(recipe, config, zero)
    steps = config.interactions * recipe.train.epochs / recipe.stream.batch_tokens
    hours = steps * sum(seconds.values()) / 3600
    cost = None if config.usd_per_gpu_hour is None else hours * config.world * config.usd_per_gpu_hour
    return {
        "memory": held._asdict() | {"states": held.states, "total": held.total},
        "fits": _fits(held, config),
        "step_seconds": seconds,
        "steps": steps,
        "hours": hours,
        "usd": cost,
        "micro_tokens": most_tokens(recipe, config, zero),
        "largest_backbone": largest(recipe, config, zero),
    }


def memory_of(recipe: Recipe, config: PlanConfig, zero: ZeroConfig, tokens: float | None = None) -> Memory:
    """Bytes on each GPU, with the recipe's micro-batches or those of so many interactions."""
    encoder, catalogue, half = recipe.encoder, _catalogue(config), recipe.train.precision == "bf16"
    backbone = backbone_parameters(encoder.backbone, encoder.width, recipe.stream.max_len)
    rows = memory.row_numbers(encoder, catalogue)
    parameters = backbone + memory.item_parameters(encoder, catalogue) - rows
    tokens = tokens or step_load(recipe, config).tokens
    copies = 2.0 * backbone if half else 0.0  # autocast's bf16 weights, kept until the backward pass is done
    return memory.model_states(parameters, zero, config.world, rows)._replace(
        activations=memory.activations(encoder, tokens, half) + copies,
        softmax=memory.softmax_bytes(recipe.objective, encoder, catalogue, tokens, recipe.stream.batch_tokens),
    )


def step_load(recipe: Recipe, config: PlanConfig) -> StepLoad:
    """One optimiser step: windows are taken as full."""
    stream, world = recipe.stream, config.world
    mine = max(stream.max_len, stream.batch_tokens / world)
    micros = max(1, int(np.ceil(mine / stream.micro_tokens)))
    windows = [stream.max_len + 1] * max(1, round(mine / micros / stream.max_len))
    cost = training_cost(recipe.encoder, recipe.objective, _catalogue(config), windows)
    times = _ACROSS if micros > 1 and _looks_across(recipe.objective) else 1.0
    return StepLoad(mine / micros, micros, cost.total * times * micros * world)


def _looks_across(objective: ObjectiveConfig) -> bool:
    return isinstance(objective, AutoregressiveConfig) and isinstance(objective.softmax, InBatchSoftmaxConfig)


def step_seconds(recipe: Recipe, config: PlanConfig, zero: ZeroConfig) -> dict[str, float]:
    """Seconds of products and of communication: 2 passes of the parameters a step, 3 a micro-batch under stage 3.

    Of what is trained by rows little is sent: it is left out. Volumes as in Rajbhandari et al. 2020, section 7; the
    slowest link on the way counts.
    """
    gpu, step, world = GPUS[config.gpu], step_load(recipe, config), config.world
    peak = gpu.bf16 if recipe.train.precision == "bf16" else gpu.fp32
    parameters = backbone_parameters(recipe.encoder.backbone, recipe.encoder.width, recipe.stream.max_len)
    parameters += memory.item_parameters(recipe.encoder, _catalogue(config))
    parameters -= memory.row_numbers(recipe.encoder, _catalogue(config))
    passes = 3 * step.micros if zero.stage == 3 else 2 if zero.stage < 2 else 1 + step.micros
    network = config.network_gbps * 1e9 / 8 / config.gpus_per_node
    link = gpu.link if config.nodes == 1 else min(gpu.link, network)
    return {
        "products": step.flops / world / (peak * config.mfu),
        "communication": passes * _FP32 * parameters * (world - 1) / world / link,
    }


def most_tokens(recipe: Recipe, config: PlanConfig, zero: ZeroConfig) -> int | None:
    """The largest micro-batch that fits, a power of two; None where not even one window does."""
    tokens = [2**power for power in range(_MOST_TOKENS) if 2**power >= recipe.stream.max_len]
    return max((n for n in tokens if _fits(memory_of(recipe, config, zero, n), config)), default=None)


def largest(recipe: Recipe, config: PlanConfig, zero: ZeroConfig) -> int | None:
    """Parameters of the largest backbone of the ladder that fits; None where not even a small one does."""
    low, high, best = np.log(_SMALLEST), np.log(_LARGEST), None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shape = shape_of(recipe.encoder.backbone, recipe.stream.max_len, round(np.exp(middle)))
        own = settings(recipe, shape, config.interactions)["encoder"]
        encoder = recipe.encoder.model_validate(recipe.encoder.model_dump() | own)
        if _fits(memory_of(recipe.model_copy(update={"encoder": encoder}), config, zero), config):
            low, best = middle, shape.parameters
        else:
            high = middle
    return best


def assumptions(recipe: Recipe, config: PlanConfig) -> list[str]:
    """What the plan rests on, in words."""
    gpu, network = GPUS[config.gpu], config.network_gbps / 8
    peak = gpu.bf16 if recipe.train.precision == "bf16" else gpu.fp32
    return [
        f"{config.users:,.0f} users, {config.interactions:.3g} interactions, {config.items:,} items, "
        f"{recipe.train.epochs:g} epochs, batches of {recipe.stream.batch_tokens:,} interactions, full windows of "
        f"{recipe.stream.max_len}",
        f"{config.nodes} x {config.gpus_per_node} {config.gpu}: {gpu.memory / 1e9:g} GB, {config.reserve:.0%} of it "
        f"left free, {peak / 1e12:g} TFLOP/s peak in {recipe.train.precision}, {network:g} GB/s between nodes",
        f"{config.mfu:.0%} of the peak is reached in products; measure it with benchmarks/gpu.py",
        "weights, gradients and Adam's moments are fp32; communication waits for products and they for it",
        "nothing is lost to failures, checkpoints, validation, or waiting for data",
    ]


def _data(recipe: Recipe, config: PlanConfig) -> dict[str, float]:
    """What the log asks of storage, preparation and reading."""
    seconds = sum(step_seconds(recipe, config, WAYS["ZeRO-2"]).values())
    return {
        "bytes": config.interactions * config.bytes_per_interaction,
        "prepare_core_hours": config.interactions / config.prepare_rate / 3600,
        "read_bytes_per_second": recipe.stream.batch_tokens / seconds * config.bytes_per_interaction,
        "interactions_per_user": config.interactions / config.users,
    }


def _fits(held: Memory, config: PlanConfig) -> bool:
    on_gpu = held.total <= GPUS[config.gpu].memory * (1 - config.reserve)
    return on_gpu and held.host * config.gpus_per_node <= config.host_gb * 1e9


def _catalogue(config: PlanConfig) -> Catalogue:
    return Catalogue(config.items, config.text_width)


def capacity_table(told: dict[str, Any]) -> str:
    """A plan as text."""
    kinds = ", ".join(f"{name} {count:,}" for name, count in told["parameters"].items())
    head = ("states", "activations", "softmax", "buffers", "total", "host")
    lines = [f"parameters  {kinds}; {told['gpus']} GPUs", f"{'GB on a GPU':<29}" + "".join(f"{n:>12}" for n in head)]
    for name, way in told["ways"].items():
        sizes = "".join(f"{way['memory'][column] / 1e9:>12.2f}" for column in head)
        lines.append(f"{name:<29}{sizes}  {'fits' if way['fits'] else 'DOES NOT FIT'}")
    lines.append(
        f"{'':<29}{'step, s':>12}{'of it sent':>12}{'hours':>14}{'USD':>16}{'micro_tokens':>14}{'largest backbone':>20}"
    )
    for name, way in told["ways"].items():
        seconds = sum(way["step_seconds"].values())
        usd = "–" if way["usd"] is None else f"{way['usd']:,.0f}"
        most, micro = ("none" if way[n] is None else f"{way[n]:,}" for n in ("largest_backbone", "micro_tokens"))
        sent = way["step_seconds"]["communication"]
        lines.append(f"{name:<29}{seconds:>12.4f}{sent:>12.4f}{way['hours']:>14,.1f}{usd:>16}{micro:>14}{most:>20}")
    data = told["data"]
    lines.append(
        f"data        {data['bytes'] / 1e12:,.2f} TB, prepared in {data['prepare_core_hours']:,.0f} core hours, read "
        f"at {data['read_bytes_per_second'] / 1e6:,.1f} MB/s while training"
    )
    corpus = told["corpus"]
    begins = f"after {corpus['plan_seconds']:,.0f} s" if corpus["plan_seconds"] else "at once"
    lines.append(
        f"corpus      {corpus['num_buckets']:,} buckets of {corpus['interactions']:,.0f} interactions; a node holds "
        f"{corpus['node'] / 1e9:,.2f} GB of them, plans {begins}; a pass is read in "
        f"{corpus['pass_seconds'] / 3600:,.2f} core hours"
    )
    lines += [f"limit       {line}" for line in corpus["advice"]]
    return "\n".join([*lines, *(f"assumes     {line}" for line in told["assumptions"])])
