"""What users were shown beside the item that they took: negatives that they really had the choice of.

Drawn negatives are mostly items that a user never saw. Those that were shown and left are told from the target by a
softmax of its own, over the slate alone: who showed them, and how popular they are, cancels out in part. A table of all
that was shown is held by each worker, 24 bytes a row; it is not part of the corpus, and can be newer.

Shapes: E rows of the table, U its users, W its distinct times, T targets, P items shown beside one, N targets with any.
"""

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch

SHOWN, _TARGETS, _PLACES, _COUNTED = "shown_items", "shown_targets", "shown_places", "shown_counted"
Rows = NDArray[np.int64]


class Impressions(NamedTuple):
    """Rows by user and time: `keys_E` rises, and says both; `users_U` are hashes, `times_W` microseconds."""

    users_U: Rows
    times_W: Rows
    keys_E: Rows
    items_E: Rows

    @classmethod
    def of(cls, users_E: Rows, times_E: Rows, items_E: Rows) -> Self:
        """What was shown to whom and when, in any order."""
        users_U, user_E = np.unique(users_E, return_inverse=True)
        times_W, time_E = np.unique(times_E, return_inverse=True)
        keys_E = user_E * (len(times_W) + 1) + time_E
        order = np.argsort(keys_E, kind="stable")
        return cls(users_U, times_W, keys_E[order], items_E[order])

    def between(self, users_T: Rows, after_T: Rows, until_T: Rows) -> tuple[Rows, Rows]:
        """What each user was shown after one time and until another, once each: places in T and items, `[P]`."""
        row_T = np.searchsorted(self.users_U, users_T)
        is_known_T = np.append(self.users_U, -1)[row_T] == users_T
        first_T, end_T = (np.searchsorted(self.times_W, times_T, side="right") for times_T in (after_T, until_T))
        base_T = row_T * (len(self.times_W) + 1)
        low_T, high_T = (np.searchsorted(self.keys_E, base_T + time_T) for time_T in (first_T, end_T))
        lengths_T = np.where(is_known_T, (high_T - low_T).clip(min=0), 0)
        place = np.repeat(np.arange(len(users_T)), lengths_T)
        pairs = np.unique(np.stack([place, self.items_E[ranges(low_T, lengths_T)]]), axis=1)
        return pairs[0], pairs[1]


class ShownItems:
    """The cross-entropy of a target among what was shown since the interaction before it, at most `within` before."""

    def __init__(self, impressions: Impressions, within_us: int) -> None:
        self._impressions, self._within_us = impressions, within_us

    def labels(self, batch: Batch, view: Batch, place_T: Tensor, targets_T: Tensor) -> dict[str, Tensor]:
        """What was shown beside each target; where nothing was, one target that counts nothing."""
        times = batch.side[TIMESTAMPS].numpy()
        until_T = times[place_T.numpy() + 1]
        after_T = np.maximum(times[place_T.numpy()], until_T - self._within_us - 1)  # that long before still counts
        users_T = view.per_token(view.users_B).numpy()
        token_P, items_P = self._impressions.between(users_T, after_T, until_T)
        is_left_P = items_P != targets_T.numpy()[token_P]
        token_P, items_P = token_P[is_left_P], items_P[is_left_P]
        is_counted = len(token_P) > 0
        if not is_counted:  # all ranks look items up alike, whatever their windows hold
            token_P, items_P = np.zeros(1, np.int64), targets_T[:1].numpy()
        targets_N, place_P = np.unique(token_P, return_inverse=True)
        found = {SHOWN: items_P, _TARGETS: targets_N, _PLACES: place_P, _COUNTED: np.full(len(targets_N), is_counted)}
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def count(self, view: Batch) -> Tensor:
        """How many targets had something shown beside them."""
        return view.labels[_COUNTED].sum()

    def loss(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        """Summed over targets, float32."""
        token_N, place_P = view.labels[_TARGETS], view.labels[_PLACES]
        states_ND = states_TD[token_N].float()
        own_N = (states_ND * encoder.items(targets_T[token_N]).float()).sum(-1)
        shown_P = (states_ND[place_P] * encoder.items(view.labels[SHOWN]).float()).sum(-1)
        peak_N = own_N.detach().scatter_reduce(0, place_P, shown_P.detach(), "amax")
        total_N = (own_N - peak_N).exp().index_add(0, place_P, (shown_P - peak_N[place_P]).exp())
        return ((total_N.log() + peak_N - own_N) * view.labels[_COUNTED]).sum()
