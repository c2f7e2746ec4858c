"""Conure's masks: which weights of a layer belong to which task (Yuan et al., SIGIR 2021).

Any linear map of a backbone can be masked, since the mask is a parametrization of its weight and the map knows nothing
of it. A weight that does not train is a buffer: neither weight decay nor an optimiser's moments reach it, at the price
of a second copy of each masked weight while it trains.

An owner is 0 for a free weight, else the number of the task that it belongs to, from 1.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError

Owners = dict[str, Tensor]
"""The owners of every masked weight, uint8, by the weight's name in the encoder."""

MAX_TASKS = 255


class Masked(nn.Module):
    """What trains where a weight is active, and elsewhere what it was: stopgrad(W⊙M) + W⊙(1−M) of the paper."""

    active: Tensor
    base: Tensor

    def __init__(self, active: Tensor, base: Tensor) -> None:
        super().__init__()
        self.register_buffer("active", active)
        self.register_buffer("base", base)

    def forward(self, trained: Tensor) -> Tensor:
        return torch.where(self.active, trained, self.base)


def free_owners(encoder: UserEncoder) -> Owners:
    """All weights that can be masked, as free ones.

    Raises:
        UserError: the backbone has no linear maps.
    """
    owners = {f"{name}.weight": torch.zeros_like(m.weight, dtype=torch.uint8) for name, m in _maps(encoder)}
    if not owners:
        raise UserError("continual.methods conure masks linear maps, which this encoder's backbone has none of")
    return {name: owner.cpu() for name, owner in owners.items()}


def mask(encoder: UserEncoder, active: Owners) -> None:
    """Let only the active ones of the named weights train, in place; what the encoder does stays as it is."""
    for name, module in list(_maps(encoder)):
        if f"{name}.weight" in active:
            weight = module.weight.detach().clone()
            parametrization = Masked(active[f"{name}.weight"].bool().to(weight.device), weight)
            parametrize.register_parametrization(module, "weight", parametrization)


def unmask(encoder: UserEncoder) -> None:
    """Leave the weights that the encoder works with as plain ones, in place."""
    for _, module in list(_maps(encoder)):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def claim(weights: dict[str, Tensor], owners: Owners, prune: float, task: int) -> Owners:
    """Give a task the largest of each layer's free weights, all but the share that is pruned."""
    claimed = {}
    for name, owner in owners.items():
        free = torch.nonzero(owner.flatten() == 0)[:, 0]
        largest = weights[name].flatten()[free].abs().topk(round((1 - prune) * len(free))).indices
        claimed[name] = owner.clone()
        claimed[name].view(-1)[free[largest]] = task
    return claimed


def owned_until(weight: Tensor, owner: Tensor, task: int) -> Tensor:
    """The weight as a task uses it: its own, those of the tasks before it, and zeros."""
    return torch.where((owner > 0) & (owner <= task), weight, 0)


def used(owners: Owners) -> dict[str, float]:
    """The share of each layer's weights that belong to some task."""
    return {name: float((owner > 0).float().mean()) for name, owner in owners.items()}


def _maps(encoder: UserEncoder) -> Iterator[tuple[str, nn.Linear]]:
    """The backbone's linear maps, with their names in the encoder."""
    for name, module in encoder.backbone.named_modules():
        if isinstance(module, nn.Linear):
            yield f"backbone.{name}", module
