"""A training state as stretches of flat tensors: what each rank writes, and what any other number of ranks reads.

    weights-00000-of-00002.safetensors    rank 0's stretches of parameters and buffers
    rows0-00000-of-00002.safetensors …    rank 0's rows of an item table, then of its moments
    moments-00000-of-00002.safetensors    rank 0's stretches of what the optimiser knows

A stored stretch says where it belongs in its whole tensor, not who held it: any number of workers, at any ZeRO stage,
takes what it needs. What all ranks hold whole is written a share each; the price is that all read every share.
Files are mapped, not read: of a stretch only what is taken is brought to memory.

Shapes: N elements of a stretch, numbers of a flat tensor or rows of a table.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ray_userrep.training.rows import held_rows

_MOMENTS = ("exp_avg", "exp_avg_sq")
NOTHING = slice(0, 0)


class Shard(NamedTuple):
    """A stretch of a tensor as a rank holds it: a view, read when saved and written when restored.

    It begins at an element and has every one, or of a table that is dealt out every `step`-th row.
    """

    key: str
    start: int
    values_N: Tensor
    kept: slice  # the elements of it that this rank saves
    step: int = 1


class Stretch(NamedTuple):
    """A stretch as it was stored: where it begins, every how many elements it has one, and these."""

    start: int
    step: int
    values_N: Tensor


class OptimizerShard(NamedTuple):
    """The stretch of a parameter that this rank's optimiser updates, and where it lies in the optimiser's tensor."""

    name: str
    start: int
    flat: Tensor
    offset: int
    length: int
    kept: slice

    def part(self, key: str, flat: Tensor, kept: slice) -> Shard:
        """This stretch in a tensor laid out as the optimiser's."""
        return Shard(f"{key}/{self.name}", self.start, flat.detach().view(-1).narrow(0, self.offset, self.length), kept)


def share(num_elements: int, rank: int, world: int) -> slice:
    """What a rank saves of a tensor that all ranks hold."""
    size = -(-num_elements // world)
    return slice(min(rank * size, num_elements), min((rank + 1) * size, num_elements))


def named_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, but what `row_shards` has; one with two names has the first, as in `named_parameters`."""
    distinct = {id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    rows = held_rows(model)
    return {name: tensor for name, tensor in reversed(distinct.values()) if name not in rows}


def row_shards(model: nn.Module) -> list[Shard]:
    """The rows of item tables that this rank holds, and of their moments, by their names in the model's state."""
    return [
        Shard(name, held.table.exchange.rank, held.rows_SD, slice(0, len(held.rows_SD)), held.table.exchange.world)
        for name, held in held_rows(model).items()
    ]


def replicated_weights(state: dict[str, Tensor], rank: int, world: int) -> list[Shard]:
    """The parts of weights and buffers that all ranks hold whole."""
    return [
        Shard(f"weight/{name}", 0, tensor.detach().view(-1), share(tensor.numel(), rank, world))
        for name, tensor in state.items()
    ]


def replicated_shards(parameters: Iterable[tuple[str, Tensor]], rank: int, world: int) -> list[OptimizerShard]:
    """The holdings of an optimiser that updates parameters whole."""
    return [OptimizerShard(name, 0, p, 0, p.numel(), share(p.numel(), rank, world)) for name, p in parameters]


def adam_parts(optimizer: torch.optim.Optimizer, holdings: Iterable[OptimizerShard]) -> list[Shard]:
    """The moments and step counts that an optimiser of Adam's kind keeps of its holdings."""
    parts = []
    for holding in holdings:
        state = _adam_state(optimizer, holding.flat)
        parts += [holding.part(key, state[key], holding.kept) for key in _MOMENTS]
        begins = holding.start + holding.kept.start == 0 and holding.kept.stop > 0
        parts.append(Shard(f"step/{holding.name}", 0, state["step"].view(1), slice(0, int(begins))))
    return parts


def _adam_state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """An optimiser's state of one tensor, made as its first step would where none has been taken."""
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state |= {key: torch.zeros_like(parameter, memory_format=torch.preserve_format) for key in _MOMENTS}
    return state


def write(parts: Iterable[Shard], path: Path) -> None:
    """Write what this rank saves of its parts."""
    kept = ((f"{p.key}@{p.start + p.kept.start * p.step}+{p.step}", p.values_N[p.kept].cpu()) for p in parts)
    # Parameters of one flat tensor share their step count, and a file may hold no memory twice.
    save_file({name: v.clone() if len(v) == 1 else v for name, v in kept if len(v)}, path)


def restore(parts: list[Shard], files: Iterable[Path]) -> list[str]:
    """Fill parts from files until nothing is missing; returns the keys of which something still is."""
    missing = [len(part.values_N) for part in parts]
    for path in files:
        found = stretches(path)
        for i, part in enumerate(parts):
            missing[i] -= sum(_copy(part, *stretch) for stretch in found.get(part.key, []))
        if not any(missing):
            break
    return [part.key for part, count in zip(parts, missing, strict=True) if count]


def stretches(path: Path) -> dict[str, list[Stretch]]:
    """What a file holds, by key."""
    found: dict[str, list[Stretch]] = {}
    for name, values_N in load_file(path).items():
        key, _, place = name.rpartition("@")
        start, _, step = place.partition("+")
        found.setdefault(key, []).append(Stretch(int(start), int(step), values_N))
    return found


def _copy(part: Shard, start: int, step: int, values_N: Tensor) -> int:
    """Copy what a stored stretch and a part have in common, every so many elements of each; returns how many."""
    low, apart = max(part.start, start), math.lcm(part.step, step)
    common = (at for at in range(low, low + apart) if (at - part.start) % part.step == (at - start) % step == 0)
    first = next(common, None)
    if first is None:
        return 0
    own_N = part.values_N[(first - part.start) // part.step :: apart // part.step]
    stored_N = values_N[(first - start) // step :: apart // step]
    count = min(len(own_N), len(stored_N))
    own_N[:count].copy_(stored_N[:count])
    return count
