"""Users' labels as an objective: a head on the user vector, trained by the same step as any other.

The objective keeps its labels by user, so that batches come from the corpus as they are and need no other reader; that
costs a look-up a batch, and holds the labels of all training users in memory. Users without a label are passed over:
another task may train along on them. A frozen encoder reads each user once, as it reads users anywhere else (all of
their history, where its readout says so): the vectors are kept, for a few hundred bytes a user. One that trains sees
the windows of the batch.

Shapes: B users, U labelled users, F width of a user vector, E numbers beside it, C classes or labels.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.training.step import is_frozen
from ray_userrep.transfer.head import Head

LABEL, IS_KNOWN, _ROW, _BESIDE, _UNTIL = "label", "is_known", "label_row", "label_beside", "label_until"


class UserLabels(Objective):
    """Cross-entropy over classes, or the squared error of a standardised value where `num_classes` is 0.

    `users_U` are stable hashes, `labels_U` class codes or values, or `[U, C]` which of several labels each user has;
    `read` gives the vectors of these users by a frozen encoder, `[U, F]`; one that trains reads windows as of the
    moments `until_U` (us). The head is linear, or has a hidden layer; it reads `beside_UE` beside the vector, where
    given.
    """

    parts = ("label",)

    def __init__(
        self,
        users_U: NDArray[np.int64],
        labels_U: NDArray[np.float64],
        num_classes: int,
        width: int,
        read: Callable[[UserEncoder], NDArray[np.float64]],
        until_U: NDArray[np.int64],
        hidden: int = 0,
        beside_UE: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self._order_U = np.argsort(users_U)
        self._users_U, self._labels_U = users_U[self._order_U], labels_U[self._order_U]
        self._beside_UE = np.zeros((len(users_U), 0), np.float32) if beside_UE is None else beside_UE[self._order_U]
        self._read, self._until_U = read, until_U[self._order_U]
        num_inputs = width + self._beside_UE.shape[1]
        if labels_U.ndim == 2:
            self.head = Head("several", num_inputs, hidden, labels_U.shape[1])
        elif num_classes:
            self.head = Head("classes", num_inputs, hidden, num_classes)
        else:
            self.head = Head("value", num_inputs, hidden, 1, float(labels_U.mean()), float(labels_U.std()) or 1.0)
        self._vectors_UF: Tensor | None = None  # of a frozen encoder; a last row for users without a label
        self._once: dict[str, Any] = {}

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with their users' labels, and whether they have one."""
        users_B = batch.users_B.numpy()
        place_B = np.searchsorted(self._users_U, users_B).clip(max=len(self._users_U) - 1)
        is_known_B = self._users_U[place_B] == users_B
        found = {
            LABEL: torch.from_numpy(self._labels_U[place_B]),
            _UNTIL: torch.from_numpy(self._until_U[place_B]),
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
        inputs_BF = torch.cat([self._vectors(encoder, view), view.labels[_BESIDE]], 1)
        loss_B = encoder.backbone.credited(self.head.losses(inputs_BF, view.labels[LABEL]))
        return LossSum(((loss_B * view.labels[IS_KNOWN]).sum() * view.weight)[None])

    def _vectors(self, encoder: UserEncoder, view: Batch) -> Tensor:
        if not is_frozen(encoder):
            vectors_BF: Tensor = encoder(view, view.labels[_UNTIL])
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
