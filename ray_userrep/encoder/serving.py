"""What callers ask of an encoder in their own words: raw item ids, times and tables in, vectors and raw item ids out.

The model itself is made on top of it (user_encoder.py): nothing here is trained.

Shapes: N interactions of all users, B users, F numbers of a user vector, E of a bag, S of what is remembered of a user,
D width.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.bag import Bag
from ray_userrep.encoder.given import microseconds
from ray_userrep.encoder.histories import history_sums, ranking_vectors, user_vectors
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.layers import without_noise
from ray_userrep.encoder.reading import Known, Reads, known_interactions, tidy
from ray_userrep.encoder.tempo import Moments, Tempo, follows, joined_states
from ray_userrep.encoder.top_k import best_items, most_alike
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import ReadoutKind


class Serving(PreTrainedModel):
    """The methods of a user encoder for whoever has no batches; the model has those that it rests on."""

    readout: ReadoutKind
    width: int
    max_len: int
    items: ItemEmbedder
    bag: Bag | None
    tempo: Tempo | None
    _reads: Reads
    _item_table: ItemTable | None

    @property
    @abstractmethod
    def vector_width(self) -> int: ...

    @abstractmethod
    def ranking(self, batch: Batch) -> Tensor: ...

    @abstractmethod
    def sums(self, batch: Batch) -> Tensor: ...

    @abstractmethod
    def scaled(self, sums_BS: Tensor, until: Moments | None = None) -> Tensor: ...

    def encode(
        self,
        histories: Iterable[Any],
        timestamps: Iterable[Any] | None = None,
        until: datetime | None = None,
        *,
        fields: Mapping[str, Iterable[Any]] | None = None,
        unknown: Literal["skip", "error"] = "skip",
        batch_tokens: int = 16384,
    ) -> NDArray[np.float32]:
        """User vectors of raw item ids, newest last, `[B, F]`; readouts of a window see its newest known `max_len`.

        Histories are one list a user: of Python, a column of pandas, polars or Arrow, or a table of two axes. What the
        encoder reads of interactions beside their items lies beside them in the same form: their times, and `fields`
        by name, such as a price. What it reads of users (encoder.profile) is in `fields`, too, a value a user; one that
        is not known is None. An encoder with encoder.tempo also wants the moment up to which days are counted.
        Unknown items are left out, or refused with `unknown="error"`; where nothing is left there are zeros, with a
        warning. There is no dropout, whatever mode the encoder is in. Threads may ask at once.

        Raises:
            UserError: what is given is not one list a user; an unknown item, where those are refused; ids of another
                type than the item table's; an encoder without its item table; what the encoder reads is missing, or not
                of one shape with the items.
        """
        moment = self._moment(until)
        known = self._known(histories, timestamps, fields, unknown)
        return user_vectors(self, *known, moment, _counted(batch_tokens))

    def encode_table(
        self,
        interactions: Any,
        until: datetime | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        unknown: Literal["skip", "error"] = "skip",
        batch_tokens: int = 16384,
    ) -> pa.Table:
        """Vectors of the users of a table of interactions, as `embed` writes them: `user_id`, `vector`, `interactions`.

        The table (pandas, polars, Arrow) has a row an interaction: `user_id`, `item_id`, `timestamp`, and the fields
        that the encoder reads, under these names or those that `columns` gives them; of what it reads of users the
        newest row counts. Rows of a user go by their time, or as they stand where there is none. Users come as they
        first appear; `interactions` counts those with known items, of which the vector is made.

        Raises:
            UserError: it is no table, or lacks a column; or as `encode`.
        """
        moment = self._moment(until)
        users = tidy(interactions, columns or {}, self._reads)
        known = self._known(users.items, users.times, users.fields, unknown)
        vectors_BF = user_vectors(self, *known, moment, _counted(batch_tokens))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_BF.reshape(-1)), self.vector_width)
        return pa.table({"user_id": users.user_ids, "vector": vectors, "interactions": known.lengths_B})

    def recommend(
        self,
        histories: Iterable[Any],
        k: int = 10,
        timestamps: Iterable[Any] | None = None,
        *,
        fields: Mapping[str, Iterable[Any]] | None = None,
        exclude_seen: bool = True,
        batch_tokens: int = 16384,
    ) -> pa.Table:
        """The `k` likeliest next items of each history, best first: lists of `items` and their `scores`, a row each.

        Histories are given as to `encode`; items in them are left out unless `exclude_seen` is off. Where nothing is
        known of a user the lists are empty. Scores order items and are no probabilities; those of an encoder whose
        objective never met items (contrastive ones) order nothing.

        Raises:
            UserError: there are no `k` items; or as `encode`.
        """
        known = self._known(histories, timestamps, fields, "skip")
        return self.next_items(*known, k, exclude_seen, _counted(batch_tokens))

    def next_items(
        self,
        items_N: NDArray[np.int64],
        lengths_B: NDArray[np.int64],
        columns_N: Mapping[str, NDArray[np.generic]],
        k: int,
        exclude_seen: bool,
        batch_tokens: int,
    ) -> pa.Table:
        """What `recommend` gives, of histories by the indices of their items, end to end and oldest first."""
        users_N = np.repeat(np.arange(len(lengths_B)), lengths_B)
        seen = (users_N, items_N) if exclude_seen else (users_N[:0], items_N[:0])
        table_VD = self._item_vectors()
        vectors_BD = torch.from_numpy(ranking_vectors(self, items_N, lengths_B, columns_N, batch_tokens))
        top = best_items(vectors_BD.to(table_VD.device), table_VD, k, seen)
        scores_BK = np.where(lengths_B[:, None] > 0, top.scores_BK, -np.inf)
        items, scores = top._replace(scores_BK=scores_BK).lists(self._table().ids)
        return pa.table({"items": items, "scores": scores})

    def nearest_items(self, items: Iterable[Any], k: int = 10) -> pa.Table:
        """The `k` items most alike, by cosines, to each of these: `item_id`, and lists of `items` and `scores`.

        Raises:
            UserError: an item is not among the encoder's; there are no `k` others.
        """
        table = self._table()
        ids = pa.array(list(items), from_pandas=True)
        indices = table.index_of(ids)
        if (indices < 0).any():
            stranger = ids[int(np.argmax(indices < 0))].as_py()
            raise UserError(f"item {stranger!r} is not among the encoder's {len(table)} items")
        found, cosines = most_alike(self._item_vectors(), indices, k).lists(table.ids)
        return pa.table({"item_id": ids, "items": found, "scores": cosines})

    def _item_vectors(self) -> Tensor:
        with without_noise(), torch.no_grad():
            vectors_VD: Tensor = self.items(None).detach().float()
        return vectors_VD

    def encode_sums(self, histories: Iterable[Any], timestamps: Iterable[Any] | None = None) -> NDArray[np.float32]:
        """What is to be remembered of parts of histories, `[B, S]`; `scale_sums` makes vectors of it.

        What is stored is brought up to date by `add_sums` with what its user did since; unknown items are left out.

        Raises:
            UserError: users are not read out at a bag, where old and new interactions never meet; or as `encode`.
        """
        if self.readout != "bag":
            raise UserError(f"only vectors of encoder.readout bag add up: make those of {self.readout} anew")
        return history_sums(self, *self._known(histories, timestamps, None, "skip"))

    def add_sums(self, old_BS: NDArray[np.float32], new_BS: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is to be remembered of histories, of which the newer part follows the older one, `[B, S]`."""
        assert self.bag is not None, "what encode_sums gave"
        (old_BE1, old_BT), (new_BE1, new_BT) = (np.split(x_BS, [self.bag.width + 1], 1) for x_BS in (old_BS, new_BS))
        if self.tempo is None:
            return old_BE1 + new_BE1
        states_BT = joined_states(torch.from_numpy(old_BT), torch.from_numpy(new_BT)).numpy()
        return np.concatenate([old_BE1 + new_BE1, states_BT], 1)

    def follows(self, old_BS: NDArray[np.float32], new_BS: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether the newer part of each history may be added to the older one, `[B]`: not if it reaches back."""
        assert self.bag is not None, "what encode_sums gave"
        if self.tempo is None:
            return np.ones(len(new_BS), np.bool_)
        old_BT, new_BT = (torch.from_numpy(x_BS[:, self.bag.width + 1 :]) for x_BS in (old_BS, new_BS))
        return follows(old_BT, new_BT).numpy()

    def scale_sums(self, sums_BS: NDArray[np.float32], until: datetime | None = None) -> NDArray[np.float32]:
        """The user vectors of what is remembered, as of a moment, where the encoder has a tempo, `[B, F]`.

        Raises:
            UserError: the moment is missing.
        """
        moment = self._moment(until)
        with torch.inference_mode():
            sums = torch.from_numpy(sums_BS).to(self.device)
            return self.scaled(sums, moment).cpu().numpy()

    def _moment(self, until: datetime | None) -> int | None:
        """The moment (us) up to which days are counted; None where none are."""
        if self.tempo is not None and until is None:
            raise UserError("this encoder counts days up to a moment (encoder.tempo): name it, as until=…")
        return microseconds(until)

    def _known(
        self,
        histories: Iterable[Any],
        timestamps: Iterable[Any] | None,
        fields: Mapping[str, Iterable[Any]] | None,
        unknown: Literal["skip", "error"],
    ) -> Known:
        return known_interactions(self._table(), self._reads, histories, timestamps, fields or {}, unknown)

    def _table(self) -> ItemTable:
        if self._item_table is None:
            raise UserError("this encoder has no item table: load it from the folder of a run, or set item_table")
        return self._item_table


def _counted(batch_tokens: int) -> int:
    if batch_tokens < 1:
        raise UserError(f"batch_tokens: takes a number of tokens from 1 on (given {batch_tokens!r})")
    return batch_tokens
