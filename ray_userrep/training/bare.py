"""The engine without a cluster: plain torch on one device.

It is what runs where there is neither Ray nor DeepSpeed, and the reference that the distributed engine is held to.
"""

import contextlib

import torch
from torch import Tensor

from ray_userrep.training.config import TrainConfig
from ray_userrep.training.shards import Part, adam_parts, named_state, whole_holdings, whole_weights
from ray_userrep.training.step import TrainModel, Views


class BareEngine:
    """AdamW on one device, gradients clipped by their global norm."""

    rank = 0
    world = 1

    def __init__(self, model: TrainModel, config: TrainConfig, device: torch.device) -> None:
        self.model = model.to(device)
        self.device = device
        self._clip_norm = config.clip_norm
        self._bf16 = config.precision == "bf16"
        self._optimizer = adamw(model, config)

    def forward(self, views: Views, counts_P: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else contextlib.nullcontext():
            loss, sums_P = self.model(views, counts_P)
        return loss, sums_P

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self, learning_rate: float) -> Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def sum(self, x: Tensor) -> Tensor:
        return x

    def barrier(self) -> None:
        return None

    def encoder_state(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.model.encoder.state_dict().items()}

    def weights(self) -> list[Part]:
        return whole_weights(named_state(self.model), self.rank, self.world)

    def moments(self) -> list[Part]:
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        return adam_parts(self._optimizer, whole_holdings(trained, self.rank, self.world))


def adamw(model: TrainModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that train; vectors (norms, biases) are not decayed."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trainable if _dimensions(p) >= 2]
    vectors = [p for p in trainable if _dimensions(p) < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas)


def _dimensions(parameter: torch.nn.Parameter) -> int:
    # A parameter partitioned as it was built is one-dimensional here; DeepSpeed keeps its real shape beside it.
    return len(getattr(parameter, "ds_shape", parameter.shape))
