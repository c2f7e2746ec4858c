"""A task's labels as an objective: a head on the user vector, trained by the same step as any other.

Users without a label are passed over: another task may train along on them. A frozen encoder reads each user once, as
it reads users anywhere else (all of their history, where its readout says so): the vectors are kept, for a few hundred
bytes a user. One that trains sees the windows of the batch.

Shapes: B users, U labelled users, F width of a user vector, E numbers beside it.
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
from ray_userrep.objectives.labels import KnownLabels, LabelHead
from ray_userrep.training.step import is_frozen

LABEL, IS_KNOWN, _ROW, _BESIDE, _UNTIL = "label", "is_known", "label_row", "label_beside", "label_until"


class UserLabels(Objective):
    """Cross-entropy over classes, or the squared error of a standardised value.

    `read` gives the vectors of the labelled users by a frozen encoder, `[U, F]`; one that trains reads windows as of
    the moments `until_U` (us). The head is linear, or has a hidden layer; it reads `beside_UE` beside the vector, where
    given.
    """

    parts = ("label",)

    def __init__(
        self,
        known: KnownLabels,
        width: int,
        read: Callable[[UserEncoder], NDArray[np.float64]],
        until_U: NDArray[np.int64],
        hidden: int = 0,
        beside_UE: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        beside_UE = np.zeros((len(known.users_U), 0), np.float32) if beside_UE is None else beside_UE
        self.head = LabelHead(known, width + beside_UE.shape[1], hidden)
        self._beside_UE = torch.from_numpy(beside_UE[self.head.order_U])
        self._read, self._until_U = read, torch.from_numpy(until_U[self.head.order_U])
        self._vectors_UF: Tensor | None = None  # of a frozen encoder; a last row for users without a label
        self._once: dict[str, Any] = {}

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with their users' labels, and whether they have one."""
        place_B, is_known_B = self.head.look_up(batch.users_B)
        found = {
            LABEL: self.head.labels(place_B),
            IS_KNOWN: is_known_B,
            _UNTIL: self._until_U[place_B],
            _BESIDE: self._beside_UE[place_B],
            _ROW: torch.where(is_known_B, place_B, len(self._beside_UE)),
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
            read_UF = torch.from_numpy(self._read(encoder)[self.head.order_U]).to(view.values_T.device, torch.float32)
            self._vectors_UF = torch.cat([read_UF, read_UF.new_zeros(1, read_UF.shape[1])])
        return self._vectors_UF[view.labels[_ROW]]

    def once(self, encoder: UserEncoder, name: str, make: Callable[[], Any]) -> Any:
        """What an encoder gives for users of this name, made anew only where the encoder may have changed."""
        if not is_frozen(encoder):
            return make()
        if name not in self._once:
            self._once[name] = make()
        return self._once[name]
