"""Where each ZeRO stage keeps a rank's stretches of weights and of the optimiser's tensors.

All knowledge of DeepSpeed's own structures that a checkpoint needs is here. Stage 0 holds everything whole; 1 and 2
hold whole weights, and one flat tensor a parameter group for the optimiser, of which a rank owns a range; 3 gives
each rank an equal range of every parameter, the last ones padded.
"""

from typing import Any

from torch import nn

from ray_userrep.training.shards import (
    NOTHING,
    OptimizerShard,
    Shard,
    named_state,
    replicated_shards,
    replicated_weights,
)


def zero_weights(model: nn.Module, holdings: list[OptimizerShard], rank: int, world: int) -> list[Shard]:
    """Parameters and buffers, and the copies that the optimiser updates: restored, but not saved again."""
    state = named_state(model)
    partitioned: dict[str, Any] = {name: tensor for name, tensor in state.items() if hasattr(tensor, "ds_id")}
    parts = replicated_weights({name: tensor for name, tensor in state.items() if name not in partitioned}, rank, world)
    for name, tensor in partitioned.items():
        start, length = _range(tensor, rank)
        parts.append(Shard(f"weight/{name}", start, tensor.ds_tensor.view(-1)[:length], slice(0, length)))
    return parts + [holding.part("weight", holding.flat, NOTHING) for holding in holdings]


def zero_shards(model: nn.Module, optimizer: Any, stage: int, rank: int, world: int) -> list[OptimizerShard]:
    """What a rank's optimiser updates; frozen parameters are in none."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if stage == 0:
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        return replicated_shards([(names[id(p)], p) for p in trained], rank, world)
    groups = optimizer.fp16_groups if stage == 3 else optimizer.bit16_groups  # of whatever precision
    trained = [p for group in groups for p in group]
    if stage == 3:
        return [_partition(names[id(p)], p, optimizer, rank) for p in trained]
    return [_fragment(names[id(p)], p._hp_mapping, optimizer) for p in trained if p._hp_mapping is not None]


def _partition(name: str, parameter: Any, optimizer: Any, rank: int) -> OptimizerShard:
    """Stage 3: a range of the parameter, in the flat tensor of its sub-group."""
    group, offset, _ = optimizer.grad_position[optimizer.get_param_id(parameter)]
    start, length = _range(parameter, rank)
    return OptimizerShard(name, start, optimizer.fp32_partitioned_groups_flat[group], offset, length, slice(0, length))


def _range(parameter: Any, rank: int) -> tuple[int, int]:
    """Where a rank's range of a partitioned parameter begins, and its length without padding."""
    size = parameter.ds_tensor.numel()
    start = min(rank * size, parameter.ds_numel)
    return start, min(size, parameter.ds_numel - start)


def _fragment(name: str, mapping: Any, optimizer: Any) -> OptimizerShard:
    """Stages 1 and 2: what of the parameter lies in this rank's range of its group."""
    flat = optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
    length = mapping.lp_fragment_address.numel
    return OptimizerShard(
        name, mapping.lp_fragment_address.start, flat, mapping.hp_fragment_address.start, length, slice(0, length)
    )
