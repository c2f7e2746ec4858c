"""An objective on user vectors that reads a frozen encoder once: each user as users are read anywhere else.

All of a history goes in, where the readout says so, and the vectors are kept for a few hundred bytes a user. An encoder
that trains sees the windows of the batch.

Shapes: B users, U known users by rising hash, F numbers of a user vector.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Objective
from ray_userrep.training.step import is_frozen

_ROW, _UNTIL = "known_row", "known_until"


class ReadOnce(Objective):
    """`read` gives the vectors of the known users by a frozen encoder, `[U, F]`.

    One that trains reads windows as of the moments `until_U` (us).
    """

    def __init__(self, read: Callable[[UserEncoder], NDArray[np.float64]], until_U: NDArray[np.int64]) -> None:
        super().__init__()
        self._read, self._until_U = read, torch.from_numpy(until_U)
        self._vectors_UF: Tensor | None = None  # of a frozen encoder; a last row for users who are not known
        self._once: dict[str, Any] = {}

    def places(self, place_B: Tensor, is_known_B: Tensor) -> dict[str, Tensor]:
        """What `vectors` asks of a view, from each user's place among the known ones."""
        return {_ROW: torch.where(is_known_B, place_B, len(self._until_U)), _UNTIL: self._until_U[place_B]}

    def vectors(self, encoder: UserEncoder, view: Batch) -> Tensor:
        """The vectors of a view's users, `[B, F]`."""
        if not is_frozen(encoder):
            vectors_BF: Tensor = encoder(view, view.labels[_UNTIL])
            return vectors_BF
        if self._vectors_UF is None:
            read_UF = torch.from_numpy(self._read(encoder)).to(view.values_T.device, torch.float32)
            self._vectors_UF = torch.cat([read_UF, read_UF.new_zeros(1, read_UF.shape[1])])
        return self._vectors_UF[view.labels[_ROW]]

    def once(self, encoder: UserEncoder, name: str, make: Callable[[], Any]) -> Any:
        """What an encoder gives for users of this name, made anew only where the encoder may have changed."""
        if not is_frozen(encoder):
            return make()
        if name not in self._once:
            self._once[name] = make()
        return self._once[name]
