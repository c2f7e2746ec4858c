"""Users' labels as an objective: a head on the user vector, trained by the same step as any other.

The objective keeps its labels by user, so that batches come from the corpus as they are and need no other reader; that
costs a look-up a batch, and holds the labels of all training users in memory. Users without a label are passed over:
another task may train along on them.

Shapes: B users, U labelled users, D width, C outputs (classes, or one value).
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, alone

LABEL, IS_KNOWN = "label", "is_known"


class UserLabels(Objective):
    """Cross-entropy over classes, or the squared error of a standardised value where `num_classes` is 0.

    `users_U` are stable hashes, `labels_U` class codes or values. The head is linear, or has a hidden layer.
    """

    parts = ("label",)

    def __init__(
        self, users_U: NDArray[np.int64], labels_U: NDArray[np.float64], num_classes: int, width: int, hidden: int = 0
    ) -> None:
        super().__init__()
        order = np.argsort(users_U)
        self._users_U, self._labels_U = users_U[order], labels_U[order]
        self._num_classes = num_classes
        self._centre = 0.0 if num_classes else float(labels_U.mean())
        self._scale = 1.0 if num_classes else float(labels_U.std()) or 1.0
        num_outputs = num_classes or 1
        layers: list[nn.Module] = [nn.Linear(width, hidden), nn.GELU()] if hidden else []
        self.head = nn.Sequential(*layers, nn.Linear(hidden or width, num_outputs))

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with their users' labels, and whether they have one."""
        users_B = batch.users_B.numpy()
        place_B = np.searchsorted(self._users_U, users_B).clip(max=len(self._users_U) - 1)
        found = {
            LABEL: torch.from_numpy((self._labels_U[place_B] - self._centre) / self._scale),
            IS_KNOWN: torch.from_numpy(self._users_U[place_B] == users_B),
        }
        return [replace(batch, labels=batch.labels | found)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return (view.labels[IS_KNOWN].sum() * view.weight).float()[None]

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = alone) -> LossSum:
        (view,) = views
        out_BC = self.head(encoder(view)).float()
        if self._num_classes:
            loss_B = F.cross_entropy(out_BC, view.labels[LABEL].long(), reduction="none")
        else:
            loss_B = F.mse_loss(out_BC[:, 0], view.labels[LABEL].float(), reduction="none")
        loss_B = encoder.backbone.credited(loss_B)
        return LossSum(((loss_B * view.labels[IS_KNOWN]).sum() * view.weight)[None])

    @torch.no_grad()
    def predict(self, vectors_BD: Tensor) -> Tensor:
        """Class probabilities, `[B, C]`, or values in the label's own unit, `[B]`."""
        out_BC = self.head(vectors_BD.to(next(self.head.parameters()))).float()
        return out_BC.softmax(-1) if self._num_classes else out_BC[:, 0] * self._scale + self._centre
