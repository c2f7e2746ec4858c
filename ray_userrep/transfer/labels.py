"""A task's labels as an objective: a head on the user vector, trained by the same step as any other.

Users without a label are passed over: another task may train along on them.

Shapes: B users, U labelled users, F width of a user vector, E numbers beside it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, identity_gather
from ray_userrep.objectives.labels import KnownLabels, LabelHead
from ray_userrep.transfer.read_once import ReadOnce

LABEL, IS_KNOWN, _BESIDE = "label", "is_known", "label_beside"


class UserLabels(ReadOnce):
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
        beside_UE = np.zeros((len(known.users_U), 0), np.float32) if beside_UE is None else beside_UE
        head = LabelHead(known, width + beside_UE.shape[1], hidden)
        super().__init__(lambda encoder: read(encoder)[head.order_U], until_U[head.order_U])
        self.head = head
        self._beside_UE = torch.from_numpy(beside_UE[head.order_U])

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with their users' labels, and whether they have one."""
        place_B, is_known_B = self.head.look_up(batch.users_B)
        found = {
            LABEL: self.head.labels(place_B),
            IS_KNOWN: is_known_B,
            _BESIDE: self._beside_UE[place_B],
        }
        return [replace(batch, labels=batch.labels | found | self.places(place_B, is_known_B))]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return (view.labels[IS_KNOWN].sum() * view.weight).float()[None]

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        inputs_BF = torch.cat([self.vectors(encoder, view), view.labels[_BESIDE]], 1)
        loss_B = encoder.backbone.credited(self.head.losses(inputs_BF, view.labels[LABEL]))
        return LossSum(((loss_B * view.labels[IS_KNOWN]).sum() * view.weight)[None])
