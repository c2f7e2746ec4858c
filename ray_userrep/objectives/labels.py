"""Labels of users as an objective: a head on the user vector for each label, trained beside what needs none.

Labels are kept by user, so that batches come from the corpus as they are and need no other reader; that costs a look-up
a batch, and holds the labels in memory. Users without a label add nothing: they train along on what they have.

Shapes: B users, U labelled users, F numbers that a head reads, C outputs (classes, or one value).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather


class KnownLabels(NamedTuple):
    """Stable hashes of users, and their class codes, or values where `num_classes` is 0."""

    users_U: NDArray[np.int64]
    labels_U: NDArray[np.float64]
    num_classes: int


class LabelHead(nn.Sequential):
    """Predicts a label from numbers of a user, by a linear map or with a hidden layer, and knows whose it is what."""

    def __init__(
        self, known: KnownLabels, num_inputs: int, hidden: int = 0, value_loss: Callable[..., Tensor] = F.mse_loss
    ) -> None:
        layers: list[nn.Module] = [nn.Linear(num_inputs, hidden), nn.GELU()] if hidden else []
        super().__init__(*layers, nn.Linear(hidden or num_inputs, known.num_classes or 1))
        self.order_U = np.argsort(known.users_U)
        self._users_U, labels_U = known.users_U[self.order_U], known.labels_U[self.order_U]
        self._num_classes, self._value_loss = known.num_classes, value_loss
        self._centre = 0.0 if known.num_classes else float(labels_U.mean())
        self._scale = 1.0 if known.num_classes else float(labels_U.std()) or 1.0
        self._targets_U = torch.from_numpy((labels_U - self._centre) / self._scale)

    def look_up(self, users_B: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each user among those with a label, in rising order of hashes, and whether there is one."""
        place_B = np.searchsorted(self._users_U, users_B.numpy()).clip(max=len(self._users_U) - 1)
        return torch.from_numpy(place_B), torch.from_numpy(self._users_U[place_B]) == users_B

    def targets(self, place_B: Tensor) -> Tensor:
        """What is predicted of the users at these places: class codes, or standardised values."""
        return self._targets_U[place_B]

    def losses(self, inputs_BF: Tensor, targets_B: Tensor) -> Tensor:
        """Cross-entropy over classes, or the loss of a standardised value, of each user, float32."""
        out_BC = self(inputs_BF).float()
        if self._num_classes:
            return F.cross_entropy(out_BC, targets_B.long(), reduction="none")
        found_B: Tensor = self._value_loss(out_BC[:, 0], targets_B.float(), reduction="none")
        return found_B

    @torch.no_grad()
    def predict(self, inputs_BF: Tensor) -> Tensor:
        """Class probabilities, `[B, C]`, or values in the label's own unit, `[B]`."""
        out_BC = self(inputs_BF.to(next(self.parameters()))).float()
        return out_BC.softmax(-1) if self._num_classes else out_BC[:, 0] * self._scale + self._centre


class Labels(Objective):
    """Several labels of each user from one vector; each is a part with a count of its own.

    Values have a Huber loss: what shops know of users has long tails, such as how much they spent.
    """

    def __init__(self, known: Mapping[str, KnownLabels], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(LabelHead(one, width, value_loss=F.huber_loss) for one in known.values())
        self.parts = tuple(f"label_{name}" for name in known)
        self.weights = (1.0,) * len(known)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows, with what is asked of their users and whether it is known."""
        found: dict[str, Tensor] = {}
        for name, head in self._named():
            place_B, found[f"{name}/is_known"] = head.look_up(batch.users_B)
            found[name] = head.targets(place_B)
        return [replace(batch, labels=batch.labels | found)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.stack([view.labels[f"{name}/is_known"].sum() for name in self.parts]).float() * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        vectors_BF = encoder(view)
        sums = []
        for name, head in self._named():
            loss_B = head.losses(vectors_BF, view.labels[name])
            sums.append((loss_B * view.labels[f"{name}/is_known"]).sum())
        return LossSum(torch.stack(sums) * view.weight)

    def _named(self) -> list[tuple[str, LabelHead]]:
        heads = [head for head in self.heads if isinstance(head, LabelHead)]
        return list(zip(self.parts, heads, strict=True))
