"""Users' labels as an objective: a head on the user vector, trained by the same step as any other.

The objective keeps its labels by user, so that batches come from the corpus as they are and need no other reader; that
costs a look-up a batch, and holds the labels of all training users in memory. Users without a label are passed over:
another task may train along on them. A frozen encoder reads each user once, as it reads users anywhere else (all of
their history, where its readout says so): the vectors are kept, for a few hundred bytes a user. One that trains sees
the windows of the batch.

Shapes: B users, U labelled users, F width of a user vector, E numbers beside it, C outputs (classes, or one value).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.training.step import is_frozen

LABEL, IS_KNOWN, _ROW, _BESIDE = "label", "is_known", "label_row", "label_beside"


class UserLabels(Objective):
    """Cross-entropy over classes, or the squared error of a standardised value where `num_classes` is 0.

    `users_U` are stable hashes, `labels_U` class codes or values; `read` gives the vectors of these users by a frozen
    encoder, `[U, F]`; one that trains reads windows as of the moment `until` (us). The head is linear, or has a hidden
    layer; it reads `beside_UE` beside the vector, where given.
    """

    parts = ("label",)

    def __init__(
        self,
        users_U: NDArray[np.int64],
        labels_U: NDArray[np.float64],
        num_classes: int,
        width: int,
        read: Callable[[UserEncoder], NDArray[np.float64]],
        until: int,
        hidden: int = 0,
        beside_UE: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self._order_U = np.argsort(users_U)
        self._users_U, self._labels_U = users_U[self._order_U], labels_U[self._order_U]
        self._beside_UE = np.zeros((len(users_U), 0), np.float32) if beside_UE is None else beside_UE[self._order_U]
        self._read, self._until = read, until
        self._num_classes = num_classes
        self._centre = 0.0 if num_classes else float(labels_U.mean())
        self._scale = 1.0 if num_classes else float(labels_U.std()) or 1.0
        num_outputs, num_inputs = num_classes or 1, width + self._beside_UE.shape[1]
        layers: list[nn.Module] = [nn.Linear(num_inputs, hidden), nn.GELU()] if hidden else []
        self.head = nn.Sequential(*layers, nn.Linear(hidden or num_inputs, num_outputs))
        self._vectors_UF: Tensor | None = None  # of a frozen encoder; a last row for users without a label
        self._once: dict[str, Any] = {}

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with their users' labels, and whether they have one."""
        users_B = batch.users_B.numpy()
        place_B = np.searchsorted(self._users_U, users_B).clip(max=len(self._users_U) - 1)
        is_known_B = self._users_U[place_B] == users_B
        found = {
            LABEL: torch.from_numpy((self._labels_U[place_B] - self._centre) / self._scale),
            _BESIDE: torch.from_numpy(self._beside_UE[place_B]),
            IS_KNOWN: torch.from_numpy(is_known_B),
            _ROW: torch.from_numpy(np.where(is_known_B, place_B, len(self._users_U))),
        }
        return [replace(batch, labels=batch.labels | found)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return (view.labels[IS_KNOWN].sum() * view.weight).float()[None]

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        out_BC = self.head(torch.cat([self._vectors(encoder, view), view.labels[_BESIDE]], 1)).float()
        if self._num_classes:
            loss_B = F.cross_entropy(out_BC, view.labels[LABEL].long(), reduction="none")
        else:
            loss_B = F.mse_loss(out_BC[:, 0], view.labels[LABEL].float(), reduction="none")
        loss_B = encoder.backbone.credited(loss_B)
        return LossSum(((loss_B * view.labels[IS_KNOWN]).sum() * view.weight)[None])

    def _vectors(self, encoder: UserEncoder, view: Batch) -> Tensor:
        if not is_frozen(encoder):
            vectors_BF: Tensor = encoder(view, self._until)
            return vectors_BF
        if self._vectors_UF is None:
            read_UF = torch.from_numpy(self._read(encoder)[self._order_U]).to(view.values_T.device, torch.float32)
            self._vectors_UF = torch.cat([read_UF, read_UF.new_zeros(1, read_UF.shape[1])])
        return self._vectors_UF[view.labels[_ROW]]

    def once(self, encoder: UserEncoder, name: str, make: Callable[[], Any]) -> Any:
        """What an encoder gives for users of this name, made anew only where the encoder may have changed."""
        if not is_frozen(encoder):
            return make()
        if name not in self._once:
            self._once[name] = make()
        return self._once[name]

    @torch.no_grad()
    def predict(self, inputs_BF: Tensor) -> Tensor:
        """Class probabilities, `[B, C]`, or values in the label's own unit, `[B]`; of vectors and what is beside."""
        out_BC = self.head(inputs_BF.to(next(self.head.parameters()))).float()
        return out_BC.softmax(-1) if self._num_classes else out_BC[:, 0] * self._scale + self._centre
