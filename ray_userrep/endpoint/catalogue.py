"""The items of the encoder that is served: their vectors are made once, and every question scores all of them.

Shapes: B histories, V items, D width, K of the best.
"""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ray_userrep.encoder.reading import Known
from ray_userrep.encoder.top_k import Top, best_items
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.endpoint.refusals import NotFound
from ray_userrep.errors import UserError


class Catalogue:
    """Items by their ids, scored by vectors."""

    def __init__(self, encoder: UserEncoder) -> None:
        assert encoder.item_table is not None, "it comes from a folder"
        self._table = encoder.item_table
        with torch.no_grad():
            self._items_VD = encoder.items(None).detach().float().cpu()
        self._units_VD = F.normalize(self._items_VD, dim=1)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def ids_are_numbers(self) -> bool:
        return bool(pa.types.is_integer(self._table.ids.type))

    def likeliest(
        self, vectors_BD: NDArray[np.float32], known: Known, k: int, hides_B: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best next items of histories and their scores, `[B, K]`; none of one without known items.

        `hides_B`: whether those of the history are left out.
        """
        users_N = np.repeat(np.arange(len(known.lengths_B)), known.lengths_B)
        hides_N = hides_B[users_N]
        top = best_items(torch.from_numpy(vectors_BD), self._items_VD, k, (users_N[hides_N], known.items_N[hides_N]))
        return top.indices_BK, np.where(known.lengths_B[:, None] > 0, top.scores_BK, -np.inf)

    def nearest(self, item: str, k: int) -> dict[str, object]:
        """The items most alike to one, by cosines, as they are answered.

        Raises:
            NotFound: there is no such item.
            UserError: there are no `k` items.
        """
        try:
            (row,) = self._table.index_of(pa.array([item]).cast(self._table.ids.type))
        except pa.ArrowInvalid:
            row = -1
        if row < 0:
            raise NotFound(f"item {item!r} is not among the encoder's {len(self):,} items")
        self.refuse_beyond(k)
        own = np.zeros(1, np.int64), np.array([row])
        top = best_items(self._units_VD[row : row + 1], self._units_VD, k, own)
        found = {name: lists[0] for name, lists in self.lists(*top).items()}
        return {"item": self._table.ids[int(row)].as_py()} | found

    def refuse_beyond(self, k: int) -> None:
        """Refuse to name more items than there are.

        Raises:
            UserError: `k` is more.
        """
        if k > len(self):
            raise UserError(f"k: takes 1 to {len(self):,}, as many items as there are (given {k})")

    def lists(self, indices_BK: NDArray[np.int64], scores_BK: NDArray[np.float32]) -> dict[str, list[list[object]]]:
        """Ids and scores as they are answered, without those that are none."""
        items, scores = Top(indices_BK, scores_BK).lists(self._table.ids)
        return {"items": items.to_pylist(), "scores": scores.to_pylist()}
