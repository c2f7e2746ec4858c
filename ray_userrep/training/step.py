"""One optimiser step over a global batch: the only place where losses are normalised and gradients asked for.

Micro-batches are summed, never averaged: each part of an objective is divided by its own count over the whole global
batch, so that cutting the batch into micro-batches, or over workers, does not change what is learned.

A loss that looks across windows sees all of the global batch as well: over several micro-batches by cached gradients.

Shapes: P parts of the objective.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.content import encoded_once
from ray_userrep.encoder.items.rows import fetched_once, row_tables
from ray_userrep.feed.batch import Batch
from ray_userrep.feed.plan import Position
from ray_userrep.objectives.base import Draws, Gather, Model, Objective, identity_gather
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.cached import CachedRows, Kept
from ray_userrep.training.rows import RowAdam, clip_factor
from ray_userrep.training.shards import Shard

Views = list[Batch]


class Trainable(Protocol):
    """What the loop, its records and its exports ask of the module that an objective trains: an encoder, or another."""

    @property
    def side_columns(self) -> Sequence[str]: ...

    @property
    def reads_times(self) -> bool: ...

    def parameters_by_kind(self) -> dict[str, int]: ...

    def save_pretrained(self, save_directory: str | Path, *, state_dict: dict[str, Tensor] | None) -> None: ...


def is_frozen(encoder: nn.Module) -> bool:
    """Whether nothing of an encoder trains; tables of rows, which are no parameters, always do."""
    return not any(parameter.requires_grad for parameter in encoder.parameters()) and not row_tables(encoder)


class TrainModel(nn.Module, Generic[Model]):
    """Encoder and objective as one module: what an engine wraps, so that every parameter is used inside its forward."""

    weights_P: Tensor

    def __init__(self, encoder: Model, objective: Objective[Model], config: TrainConfig | None = None) -> None:
        super().__init__()
        config = config or TrainConfig()
        self.encoder = encoder
        self.objective = objective
        self.row_optimizers = nn.ModuleList(RowAdam(table, config.betas) for table in row_tables(encoder))
        self._item_factor, self._clip_norm = config.item_factor, config.clip_norm
        self.register_buffer("weights_P", torch.tensor(objective.weights), persistent=False)
        self.gather: Gather = identity_gather  # an engine of several ranks puts its own here
        self.train()

    def train(self, mode: bool = True) -> "TrainModel[Model]":
        """Training mode for what trains: a frozen encoder drops nothing and draws no noise."""
        super().train(mode)
        if is_frozen(self.encoder):
            self.encoder.eval()
        return self

    def forward(self, views: Views, counts_P: Tensor, gather: Gather = identity_gather) -> tuple[Tensor, Tensor]:
        """The normalised loss to differentiate, and the detached sum of each part, `[P]`."""
        with encoded_once(self.encoder, views[0].labels), fetched_once(self.encoder, views[0].labels):
            sums_P = self.objective(self.encoder, views, gather).sums_P
        return (sums_P / counts_P * self.weights_P).sum(), sums_P.detach()

    def collect_rows(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Exchange what ranks have learned about the tables that are no parameters."""
        for optimizer in self._row_optimizers():
            optimizer.collect(over_ranks)

    def row_norms(self) -> list[Tensor]:
        """The norm of each such table's gradient, once exchanged."""
        return [optimizer.norm() for optimizer in self._row_optimizers()]

    def step_rows(self, learning_rate: float, norm: Tensor | float) -> None:
        """Update these tables; `norm` is that of all gradients, theirs among them."""
        for optimizer in self._row_optimizers():
            optimizer.step(learning_rate * self._item_factor, clip_factor(self._clip_norm, norm))

    def _row_optimizers(self) -> list[RowAdam]:
        return [optimizer for optimizer in self.row_optimizers if isinstance(optimizer, RowAdam)]


class Engine(Protocol):
    """What drives a model on one rank: the bare loop's plain torch, or DeepSpeed."""

    model: TrainModel[Any]
    device: torch.device
    rank: int
    world: int

    def forward(self, views: Views, counts_P: Tensor, gather: Gather) -> tuple[Tensor, Tensor]: ...

    def backward(self, loss: Tensor) -> None: ...

    def step(self, learning_rate: float) -> Tensor | float:
        """Clip gradients by their norm, that of row tables among them, and update; returns the norm."""
        ...

    def sum(self, x: Tensor) -> Tensor: ...

    def barrier(self) -> None: ...

    def encoder_state(self) -> dict[str, Tensor] | None:
        """All encoder weights but tables of rows, on rank 0; None elsewhere."""
        ...

    def weights(self) -> list[Shard]:
        """Parameters and buffers, as this rank holds them."""
        ...

    def moments(self) -> list[Shard]:
        """What the optimiser keeps of them, as this rank holds it."""
        ...


class Micros(NamedTuple):
    """This rank's views of a global batch, one list a micro-batch, and their local counts, `[P]`."""

    views: list[Views]
    counts_P: Tensor
    seed: int

    def pinned(self) -> "Micros":
        """The same in memory from which a GPU copies while the host goes on."""
        views = [[view.pinned() for view in one] for one in self.views]
        return self._replace(views=views, counts_P=self.counts_P.pin_memory())


def prepare_micros(objective: Objective[Any], micros: list[Batch], draws: Draws, rank: int) -> Micros:
    """Turn windows into what the objective trains on; pure data, done ahead by the reading thread."""
    views = [objective.views(draws.numbered(micro), draws) for micro in micros]
    counts_P = torch.stack([objective.counts(view) for view in views]).sum(0)
    return Micros(views, counts_P, draws.dropout_seed(rank))


def train_step(engine: Engine, micros: Micros, learning_rate: float) -> Tensor:
    """Run one optimiser step; returns this rank's share of each part's mean loss, `[P]`, on the device.

    The engine averages gradients over ranks, so the normalised loss is multiplied by their number. Nothing here waits
    for the device.
    """
    counts_P = engine.sum(micros.counts_P.to(engine.device, non_blocking=True)).clamp(min=1)
    if len(micros.views) > 1 and engine.model.objective.looks_across:
        loss_P = _learn_across(engine, micros, counts_P)
    else:
        loss_P = _learn(engine, micros, counts_P, [engine.model.gather] * len(micros.views))
    engine.model.collect_rows(engine.sum)
    gradient_norm = engine.step(learning_rate)
    engine.model.step_rows(learning_rate, gradient_norm)
    return loss_P + 0.0 * gradient_norm  # a step whose gradient is not finite has no finite loss either


def _learn(engine: Engine, micros: Micros, counts_P: Tensor, gathers: Sequence[Gather]) -> Tensor:
    """Add each micro-batch's gradients, with a gather of its own."""
    _seed_dropout(micros.seed, engine.device)
    loss_P = torch.zeros_like(counts_P)
    for views, gather in zip(micros.views, gathers, strict=True):
        loss, sums_P = engine.forward(_on_device(views, engine), counts_P, gather)
        engine.backward(loss * engine.world)
        loss_P += sums_P / counts_P
    return loss_P


def _learn_across(engine: Engine, micros: Micros, counts_P: Tensor) -> Tensor:
    """Add the gradients of losses over all micro-batches of all ranks; every pass draws the same dropout."""
    _seed_dropout(micros.seed, engine.device)
    made = [Kept() for _ in micros.views]
    with torch.no_grad():
        for views, kept in zip(micros.views, made, strict=True):
            engine.forward(_on_device(views, engine), counts_P, kept)
    cached = CachedRows(made, engine.model.gather)
    loss_P = _learn(engine, micros, counts_P, [cached.gather_of(micro) for micro in range(len(made))])
    cached.add_up(engine.sum)
    _seed_dropout(micros.seed, engine.device)
    for micro, views in enumerate(micros.views):
        engine.forward(_on_device(views, engine), counts_P, kept := Kept())
        if (asked := cached.asked(kept, micro)) is not None:
            engine.backward(asked)
    return loss_P


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Begin dropout's draws anew: a resumed run draws what the uninterrupted one drew.

    `torch.manual_seed` would also note where it is called from, for each kind of device that is not there: half a
    millisecond.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _on_device(views: Views, engine: Engine) -> Views:
    return [view.to(engine.device) for view in views]


def draws_at(seed: int, position: Position) -> Draws:
    """The randomness of one global batch."""
    return Draws(seed, position.epoch, position.batch)
