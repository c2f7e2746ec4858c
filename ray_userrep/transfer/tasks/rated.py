"""Ratings as a task reads them, what is predicted of them, and how good that is, user by user.

What a user's ratings say is summed up in a few numbers, so that figures over resampled users cost nothing: errors count
every rating once, as they are published, and NDCG every user.

Shapes: U users, V items, R ratings, L ratings above what counts as liked, D factors, F figures of a user.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.errors import UserError
from ray_userrep.evaluation.factors import Floats, Ratings
from ray_userrep.evaluation.histories import Histories, Sequences
from ray_userrep.evaluation.metrics import Figures, Measure, ndcg
from ray_userrep.evaluation.ranking import ranks

RATING = "rating"


class Lists(NamedTuple):
    """A list for each user, end to end."""

    offsets_U1: NDArray[np.int64]
    values_N: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64], is_asked: NDArray[np.bool_] | bool = True) -> tuple[NDArray[np.int64], ...]:
        """Of the lists of the rows that are asked for: the place in `rows` and the place among all values of each."""
        lengths = (self.offsets_U1[rows + 1] - self.offsets_U1[rows]) * is_asked
        return np.repeat(np.arange(len(rows)), lengths), ranges(self.offsets_U1[rows], lengths)

    def take(self, rows: NDArray[np.int64]) -> "Lists":
        """The lists of the given rows, in that order."""
        lengths = self.offsets_U1[rows + 1] - self.offsets_U1[rows]
        return Lists(np.append(0, np.cumsum(lengths)), self.values_N[ranges(self.offsets_U1[rows], lengths)])


def newest_liked(users: Sequences, liked_above: float, most: int) -> Lists:
    """The newest items that each user rated so high, at most so many."""
    is_liked_N = users.side_N[RATING].astype(np.float64) > liked_above
    ends_U1 = np.append(0, np.cumsum(is_liked_N))[users.offsets_U1]
    lengths_U = np.minimum(np.diff(ends_U1), most)
    places = ranges(ends_U1[1:] - lengths_U, lengths_U)
    return Lists(np.append(0, np.cumsum(lengths_U)), users.items_N[is_liked_N][places])


def by_user(
    ratings: Ratings, raters_U: NDArray[np.int64], users_U: NDArray[np.int64]
) -> tuple[Lists, NDArray[np.float64]]:
    """The items that each user rated, and the ratings; users and raters are stable hashes."""
    row_R = places_among(raters_U, users_U)[ratings.users_R]
    ours = np.flatnonzero(row_R >= 0)
    ours = ours[np.argsort(row_R[ours], kind="stable")]
    offsets_U1 = np.searchsorted(row_R[ours], np.arange(len(users_U) + 1))
    return Lists(offsets_U1, ratings.items_R[ours]), ratings.values_R[ours]


def places_among(hashes_K: NDArray[np.int64], users_U: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each hash is among users, -1 where nowhere."""
    order = np.argsort(users_U)
    place_K = order[np.searchsorted(users_U[order], hashes_K).clip(max=len(order) - 1)]
    return np.where(users_U[place_K] == hashes_K, place_K, -1)


def ratings_of(users: Sequences, num_items: int, log: str) -> Ratings:
    """The ratings that are known of users, by their rows.

    Raises:
        UserError: the log, which the message names, has no ratings, or all are the same.
    """
    values_N = users.side_N.get(RATING, np.full(len(users.items_N), np.nan)).astype(np.float64)
    known_R = np.flatnonzero(~np.isnan(values_N))
    if not len(known_R):
        raise UserError(
            f"transfer.task cross_domain: the log {log} has no ratings: name their column, as in --logs.columns "
            '\'{"rating": "COLUMN"}\', and prepare it again'
        )
    if (values_N[known_R] == values_N[known_R[0]]).all():
        raise UserError(
            f"transfer.task cross_domain: all ratings of the log {log} are {values_N[known_R[0]]:g}: there is nothing "
            "to tell; transfer.task.kind next_item asks what comes next instead"
        )
    user_N = np.repeat(np.arange(users.num_users), users.lengths_U)
    return Ratings(user_N[known_R], users.items_N[known_R], values_N[known_R], users.num_users, num_items)


class Predicted(NamedTuple):
    """Ratings that are predicted: a number for each user, one for each item, and the product of their vectors."""

    user_U: Floats
    item_V: Floats
    users_UD: Floats
    items_VD: Floats

    def of(self, user_R: NDArray[np.int64], item_R: NDArray[np.int64]) -> Floats:
        """The ratings of some users and items."""
        products_R = (self.users_UD[user_R] * self.items_VD[item_R]).sum(1)
        return self.user_U[user_R] + self.item_V[item_R] + products_R

    def ranked(self, histories: Histories) -> Tensor:
        """Scores of all items for the users that stand for histories, `[B, V]`; a user's own number ranks nothing."""
        return torch.from_numpy(self.users_UD[histories.users_U] @ self.items_VD.T + self.item_V)


def user_figures(told: Predicted, ratings: Ratings, liked_above: float) -> Figures:
    """Of each user the sum of absolute and of squared errors, NDCG@10 over liked items, and whether there are any.

    `[U, F]`; each liked item is ranked among all items, and a user has the mean over them.
    """
    errors_R = ratings.values_R - told.of(ratings.users_R, ratings.items_R)
    liked = np.flatnonzero(ratings.values_R > liked_above)
    place_L = ranks(told.ranked, _asked(ratings.users_R[liked], ratings.items_R[liked]), ratings.num_items, False)
    sums = (abs(errors_R), errors_R**2)
    columns = [np.bincount(ratings.users_R, values_R, ratings.num_users) for values_R in sums]
    gains_U = np.bincount(ratings.users_R[liked], ndcg(place_L, 10), ratings.num_users)
    counts_U = np.bincount(ratings.users_R[liked], minlength=ratings.num_users)
    return np.stack([*columns, gains_U / np.maximum(counts_U, 1), counts_U > 0], axis=1).astype(np.float64)


def _asked(users_L: NDArray[np.int64], items_L: NDArray[np.int64]) -> Histories:
    none = np.zeros(0, np.int64)
    return Histories(none, none, np.zeros(len(users_L) + 1, np.int64), users_L, targets_U=items_L)


def _mae(counts_U: Floats, found_UF: Figures, weights_RU: Figures) -> Figures:
    return weights_RU @ found_UF[:, 0] / (weights_RU @ counts_U)


def _rmse(counts_U: Floats, found_UF: Figures, weights_RU: Figures) -> Figures:
    return np.sqrt(weights_RU @ found_UF[:, 1] / (weights_RU @ counts_U))


def _ndcg(counts_U: Floats, found_UF: Figures, weights_RU: Figures) -> Figures:
    return weights_RU @ found_UF[:, 2] / np.maximum(weights_RU @ found_UF[:, 3], 1e-12)


MEASURES: Mapping[str, Measure] = {"mae": Measure(_mae, -1), "rmse": Measure(_rmse, -1), "ndcg@10": Measure(_ndcg)}
"""From how many ratings each user has, `[U]`, and `user_figures`."""
