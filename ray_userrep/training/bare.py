"""The engine without a cluster: plain torch on one device.

It is what runs where there is neither Ray nor DeepSpeed, and the reference that the distributed engine is held to.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor

from ray_userrep.objectives.base import Gather
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.rows import clip, held_rows
from ray_userrep.training.shards import Shard, adam_parts, named_state, replicated_shards, replicated_weights
from ray_userrep.training.step import TrainModel, Views


class BareEngine:
    """AdamW on one device, gradients clipped by their global norm."""

    rank = 0
    world = 1

    def __init__(self, model: TrainModel[Any], config: TrainConfig, device: torch.device) -> None:
        self.model = model.to(device)
        self.device = device
        self._clip_norm = config.clip_norm
        self._bf16 = config.precision == "bf16"
        self._optimizer = adamw(model, config)
        self._parameters = list(model.parameters())

    def forward(self, views: Views, counts_P: Tensor, gather: Gather) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else contextlib.nullcontext():
            loss, sums_P = self.model(views, counts_P, gather)
        return loss, sums_P

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self, learning_rate: float) -> Tensor:
        norm = clip(self._parameters, self.model.row_norms(), self._clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group["factor"]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def sum(self, x: Tensor) -> Tensor:
        return x

    def barrier(self) -> None:
        return None

    def encoder_state(self) -> dict[str, Tensor]:
        rows, state = held_rows(self.model.encoder), self.model.encoder.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items() if name not in rows}

    def weights(self) -> list[Shard]:
        return replicated_weights(named_state(self.model), self.rank, self.world)

    def moments(self) -> list[Shard]:
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        return adam_parts(self._optimizer, replicated_shards(trained, self.rank, self.world))


def adamw(model: TrainModel[Any], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that train; vectors (norms, biases) are not decayed.

    A group's `factor` is its learning rate over that of a step: engines set the rate of each group by it.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = config.item_factor if name.startswith("encoder.items.") else 1.0
            decay = config.weight_decay if _dimensions(parameter) >= 2 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    parts = [{"params": found, "weight_decay": decay, "factor": factor} for (factor, decay), found in groups.items()]
    # One kernel for all of a tensor's arithmetic: small models on CPUs otherwise spend much of a step here.
    return torch.optim.AdamW(parts, lr=config.learning_rate, betas=config.betas, fused=True)


def _dimensions(parameter: torch.nn.Parameter) -> int:
    # A parameter partitioned as it was built is one-dimensional here; DeepSpeed keeps its real shape beside it.
    return len(getattr(parameter, "ds_shape", parameter.shape))
