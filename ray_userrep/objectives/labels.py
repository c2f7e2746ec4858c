"""Labels of users as an objective: a head on the user vector for each label, trained beside what needs none.

Labels are kept by user, so that batches come from the corpus as they are and need no other reader; that costs a look-up
a batch, and holds the labels in memory. Users without a label add nothing: they train along on what they have.

Shapes: B users, U labelled users, F numbers that a head reads, C labels.
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
from ray_userrep.objectives.head import Head


class KnownLabels(NamedTuple):
    """Stable hashes of users, and their class codes, or values where `num_classes` is 0.

    Instead of values, `[U, C]` which of several labels each user has.
    """

    users_U: NDArray[np.int64]
    labels_U: NDArray[np.float64]
    num_classes: int


class LabelHead(Head):
    """A head that knows whose it is what."""

    def __init__(
        self, known: KnownLabels, num_inputs: int, hidden: int = 0, value_loss: Callable[..., Tensor] = F.mse_loss
    ) -> None:
        labels_U = known.labels_U
        if labels_U.ndim == 2:
            super().__init__("several", num_inputs, hidden, labels_U.shape[1])
        elif known.num_classes:
            super().__init__("classes", num_inputs, hidden, known.num_classes)
        else:
            spread = float(labels_U.std()) or 1.0
            super().__init__("value", num_inputs, hidden, 1, float(labels_U.mean()), spread, value_loss)
        self.order_U = np.argsort(known.users_U)
        self._users_U, self._labels_U = known.users_U[self.order_U], torch.from_numpy(labels_U[self.order_U])

    def look_up(self, users_B: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each user among those with a label, in rising order of hashes, and whether there is one."""
        place_B = np.searchsorted(self._users_U, users_B.numpy()).clip(max=len(self._users_U) - 1)
        return torch.from_numpy(place_B), torch.from_numpy(self._users_U[place_B]) == users_B

    def labels(self, place_B: Tensor) -> Tensor:
        """The labels of the users at these places."""
        return self._labels_U[place_B]


class Labels(Objective):
    """Several labels of each user from one vector; each is a part with a count of its own.

    Values have a Huber loss: what shops know of users has long tails, such as how much they spent.
    """

    shows = "all"

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
            found[name] = head.labels(place_B)
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
