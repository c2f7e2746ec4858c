"""A training state as stretches of flat tensors: what each rank writes, and what any other number of ranks reads.

    weights-00000-of-00002.safetensors    rank 0's stretches of parameters and buffers
    moments-00000-of-00002.safetensors    rank 0's stretches of what the optimiser knows

A stored stretch says where it belongs in its whole tensor, not who held it: any number of workers, at any ZeRO stage,
takes what it needs. What all ranks hold whole is written a share each; the price is that all read every share.

Shapes: N elements of a stretch.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

_MOMENTS = ("exp_avg", "exp_avg_sq")
NOTHING = slice(0, 0)


class Shard(NamedTuple):
    """A stretch of a flat tensor as a rank holds it: a view, read when saved and written when restored."""

    key: str
    start: int
    values_N: Tensor
    kept: slice  # the elements of it that this rank saves


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
    """Parameters and buffers; one with two names has the first, as in `named_parameters`."""
    distinct = {id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    return dict(reversed(distinct.values()))


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
    kept = ((f"{p.key}@{p.start + p.kept.start}", p.values_N[p.kept].cpu()) for p in parts)
    # Parameters of one flat tensor share their step count, and a file may hold no memory twice.
    save_file({name: v.clone() if len(v) == 1 else v for name, v in kept if len(v)}, path)


def restore(parts: list[Shard], files: Iterable[bytes]) -> list[str]:
    """Fill parts from files until nothing is missing; returns the keys of which something still is."""
    missing = [len(part.values_N) for part in parts]
    for data in files:
        stretches = _stretches(data)
        for i, part in enumerate(parts):
            missing[i] -= sum(_copy(part, start, values_N) for start, values_N in stretches.get(part.key, []))
        if not any(missing):
            break
    return [part.key for part, count in zip(parts, missing, strict=True) if count]


def _stretches(data: bytes) -> dict[str, list[tuple[int, Tensor]]]:
    found: dict[str, list[tuple[int, Tensor]]] = {}
    for name, values_N in load(data).items():
        key, _, start = name.rpartition("@")
        found.setdefault(key, []).append((int(start), values_N))
    return found


def _copy(part: Shard, start: int, values_N: Tensor) -> int:
    """Copy what a stored stretch and a part have in common; returns its length."""
    low, high = max(part.start, start), min(part.start + len(part.values_N), start + len(values_N))
    if low >= high:
        return 0
    part.values_N[low - part.start : high - part.start].copy_(values_N[low - start : high - start])
    return high - low
