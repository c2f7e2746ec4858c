"""The engine on a cluster: the same module under DeepSpeed, its states partitioned by ZeRO.

Accumulation is left to the caller (`managed_gradient_accumulation` off): a global batch has as many micro-batches as it
has, and `step()` is its boundary. All knowledge of DeepSpeed's own structures that a checkpoint needs is here, too.
Stage 0 holds everything unsharded; 1 and 2 hold unsharded weights, and one flat tensor a parameter group for the
optimiser, of which a rank owns a range; 3 gives each rank an equal range of every parameter, the last ones padded.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime.utils import combine_grad_norm_groups
from torch import Tensor, nn

from ray_userrep.distributed.exchange import exchange_of_ranks
from ray_userrep.encoder.items.exchange import dealt_out
from ray_userrep.encoder.items.rows import row_tables
from ray_userrep.objectives.base import Gather
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import adamw
from ray_userrep.training.rows import clip, held_rows
from ray_userrep.training.shards import (
    NOTHING,
    OptimizerShard,
    Shard,
    adam_parts,
    named_state,
    replicated_shards,
    replicated_weights,
)
from ray_userrep.training.step import TrainModel, Views

# A kernel for inference on CPUs that DeepSpeed would compile on every machine, for a minute, and nothing here uses. A
# worker killed meanwhile would leave a lock for which all later ones wait.
_UNUSED_KERNEL = "deepspeed_shm_comm"


def zero_config(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's configuration of a recipe's training; batch sizes are nominal, since the loop owns accumulation."""
    zero: dict[str, Any] = {"stage": config.zero.stage, "overlap_comm": False}
    if config.zero.offload_optimizer == "cpu":
        zero["offload_optimizer"] = {"device": "cpu"}
    if config.zero.stage == 3:
        # Small parameters stay whole only where gathering them costs more than it saves; here exactness is worth more.
        zero["stage3_param_persistence_threshold"] = 0
        if config.zero.offload_parameters == "cpu":
            zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.clip_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "torch_autocast": {"enabled": config.precision == "bf16", "dtype": "bfloat16"},
        "steps_per_print": 10**9,
    }


class ZeroGroup:
    """The ranks that train together, before there is an engine; `torch.distributed` must be up."""

    def __init__(self, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.world = dist.get_world_size()
        self.device = device

    def sum(self, x: Tensor) -> Tensor:
        if self.world == 1:
            return x
        total = x.clone()
        dist.all_reduce(total)
        return total


class ZeroEngine(ZeroGroup):
    """A DeepSpeed engine behind the loop's interface."""

    def __init__(self, model: TrainModel[Any], config: TrainConfig, device: torch.device) -> None:
        super().__init__(device)
        assert all(table.exchange.world == self.world for table in row_tables(model)), "built in `partitioned_init`"
        self._stage = config.zero.stage
        _init_deepspeed()
        self._engine, *_ = deepspeed.initialize(
            model=model, optimizer=adamw(model, config), config=zero_config(config), dist_init_required=False
        )
        self.model: TrainModel[Any] = self._engine.module
        _clip_with_rows(self._engine, self.model, config)
        if self.world > 1:
            self.model.gather = gather_rows

    def forward(self, views: Views, counts_P: Tensor, gather: Gather) -> tuple[Tensor, Tensor]:
        loss, sums_P = self._engine(views, counts_P, gather)
        return loss, sums_P

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)

    def step(self, learning_rate: float) -> Tensor | float:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate * group["factor"]
        self._engine.step()
        norm: Tensor | float = self._engine.get_global_grad_norm()
        return norm

    def barrier(self) -> None:
        dist.barrier()

    def encoder_state(self) -> dict[str, Tensor] | None:
        """All encoder weights but tables of rows, on rank 0, gathered one parameter at a time; None elsewhere."""
        state, rows = dict[str, Tensor](), held_rows(self.model.encoder)
        weights = self.model.encoder.state_dict(keep_vars=True).items()
        for name, value in ((name, value) for name, value in weights if name not in rows):
            gather = hasattr(value, "ds_id")
            with deepspeed.zero.GatheredParameters([value], enabled=gather):
                if self.rank == 0:
                    state[name] = value.detach().cpu().clone()
        return state if self.rank == 0 else None

    def weights(self) -> list[Shard]:
        copies = [] if self._stage == 0 else self._holdings()
        return zero_weights(self.model, copies, self.rank, self.world)

    def moments(self) -> list[Shard]:
        optimizer = self._engine.optimizer
        return adam_parts(optimizer if self._stage == 0 else optimizer.optimizer, self._holdings())

    def _holdings(self) -> list[OptimizerShard]:
        return zero_shards(self.model, self._engine.optimizer, self._stage, self.rank, self.world)


def _clip_with_rows(engine: Any, model: TrainModel[Any], config: TrainConfig) -> None:
    """Let the norm that DeepSpeed clips by hold the gradients of row tables, of which it knows nothing."""
    optimizer = engine.optimizer
    if config.zero.stage == 0:

        def clip_all() -> None:  # here it does not tell its norm otherwise
            engine._global_grad_norm = clip(list(model.parameters()), model.row_norms(), config.clip_norm)

        engine.clip_fp32_gradients = clip_all
    elif config.zero.stage == 3:
        groups = optimizer._get_norm_groups
        optimizer._get_norm_groups = lambda: [*groups(), *model.row_norms()]
    else:
        norm = optimizer.scaled_global_norm
        optimizer.scaled_global_norm = lambda: combine_grad_norm_groups([norm(), *model.row_norms()])


def _init_deepspeed() -> None:
    deepspeed.ops.__compatible_ops__[_UNUSED_KERNEL] = False
    deepspeed.init_distributed(dist_init_required=False, verbose=False)


@contextmanager
def partitioned_init(config: TrainConfig) -> Iterator[None]:
    """A context in which a model is built as one rank's share: of tables of rows always, of parameters by `zero.init`.

    Parameters are partitioned as they are built, one module whole at a time; a table of rows is never whole.
    """
    with ExitStack() as stack:
        stack.enter_context(dealt_out(exchange_of_ranks()))
        if config.zero.stage == 3 and config.zero.init:
            _init_deepspeed()
            stack.enter_context(deepspeed.zero.Init(config_dict_or_path=zero_config(config)))
        yield


def unsharded(value: Tensor) -> Any:
    """A context in which a parameter that was partitioned as it was built is whole and may be changed on all ranks."""
    return deepspeed.zero.GatheredParameters([value], modifier_rank=0, enabled=hasattr(value, "ds_id"))


def quiet() -> None:
    """Keep DeepSpeed's informational log out of the progress lines."""
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    deepspeed.utils.logger.setLevel("WARNING")


class _AllGather(torch.autograd.Function):
    """Rows of all ranks, end to end; ranks may have different numbers of rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, sizes: list[int]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.sizes = sizes
        longest = max(sizes)
        padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        total = grad.contiguous()
        dist.all_reduce(total)
        own = total.split(ctx.sizes)[dist.get_rank()]
        return own, None


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all ranks, with gradients, and where this rank's begin."""
    own = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, own)
    sizes = [int(count) for count in counts]
    joined: Tensor = _AllGather.apply(rows, sizes)
    return joined, sum(sizes[: dist.get_rank()])


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
