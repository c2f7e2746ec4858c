"""Biased factorisation of ratings: means and shrunken biases first, then factors of what these leave over.

Factors come from alternating least squares (Koren et al. 2009, "Matrix factorization techniques"), which is the same
every time and has no learning rate; how strongly they are held back is chosen on a tenth of the ratings. Ratings, and a
square of the factors for each user and item, are held in the memory of one process.

Shapes: R ratings, U users, V items, D factors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ray_userrep.corpus import draws

Floats = NDArray[np.float64]
_PENALTIES, _SWEEPS = (3.0, 6.0, 12.0, 24.0), 10
_HELD_OUT = 47  # what a draw is for
_TENTH = 0.1


class Ratings(NamedTuple):
    """Codes of users and items, and how the one rated the other."""

    users_R: NDArray[np.int64]
    items_R: NDArray[np.int64]
    values_R: Floats
    num_users: int
    num_items: int

    def take(self, is_taken_R: NDArray[np.bool_]) -> "Ratings":
        """The marked ratings; the codes stay what they are."""
        rows = self.users_R[is_taken_R], self.items_R[is_taken_R], self.values_R[is_taken_R]
        return Ratings(*rows, self.num_users, self.num_items)


class Biases(NamedTuple):
    """The mean of all ratings, and how far users and items are from it."""

    mean: float
    user_U: Floats
    item_V: Floats

    def left(self, ratings: Ratings) -> Floats:
        """What they leave over of each rating, `[R]`."""
        return ratings.values_R - self.mean - self.user_U[ratings.users_R] - self.item_V[ratings.items_R]


class Factors(NamedTuple):
    """What the product of two rows adds to the biases."""

    users_UD: Floats
    items_VD: Floats


def biases(ratings: Ratings, item_shrinkage: float, user_shrinkage: float) -> Biases:
    """Mean deviations, of items first; a shrinkage counts as so many ratings that do not deviate."""
    mean = float(ratings.values_R.mean())
    item_V = _shrunken(ratings.items_R, ratings.values_R - mean, ratings.num_items, item_shrinkage)
    left_R = ratings.values_R - mean - item_V[ratings.items_R]
    return Biases(mean, _shrunken(ratings.users_R, left_R, ratings.num_users, user_shrinkage), item_V)


def factorise(ratings: Ratings, known: Biases, width: int, seed: int) -> Factors:
    """Factors of what biases leave over, by the penalty that predicts a tenth of the ratings best."""
    pair_R = ratings.users_R * ratings.num_items + ratings.items_R
    is_held_R = draws.uniforms(_HELD_OUT, seed, pair_R) < _TENTH
    left_R, fitted, held = known.left(ratings), ratings.take(~is_held_R), ratings.take(is_held_R)

    def error(penalty: float) -> float:
        users_UD, items_VD = _alternated(fitted, left_R[~is_held_R], width, penalty, seed)
        told_R = (users_UD[held.users_R] * items_VD[held.items_R]).sum(1)
        return float(((left_R[is_held_R] - told_R) ** 2).sum())

    return Factors(*_alternated(ratings, left_R, width, min(_PENALTIES, key=error), seed))


def _shrunken(codes_R: NDArray[np.int64], values_R: Floats, num: int, shrinkage: float) -> Floats:
    sums, counts = np.bincount(codes_R, values_R, num), np.bincount(codes_R, minlength=num)
    return sums / np.maximum(counts + shrinkage, 1e-9)


def _alternated(ratings: Ratings, left_R: Floats, width: int, penalty: float, seed: int) -> tuple[Floats, Floats]:
    place, shape = (ratings.users_R, ratings.items_R), (ratings.num_users, ratings.num_items)
    left_UV, known_UV = csr_matrix((left_R, place), shape), csr_matrix((np.ones_like(left_R), place), shape)
    left_VU, known_VU = left_UV.T.tocsr(), known_UV.T.tocsr()
    items_VD = np.random.default_rng(seed).normal(size=(ratings.num_items, width)) / width**0.5
    users_UD = np.zeros((ratings.num_users, width))
    for _ in range(_SWEEPS):
        users_UD = _solved(left_UV, known_UV, items_VD, penalty)
        items_VD = _solved(left_VU, known_VU, users_UD, penalty)
    return users_UD, items_VD


def _solved(left: csr_matrix, known: csr_matrix, fixed_D: Floats, penalty: float) -> Floats:
    """Rows that predict what is left best, beside the fixed rows of the other side, by ridge regression."""
    width = fixed_D.shape[1]
    squares = (fixed_D[:, :, None] * fixed_D[:, None, :]).reshape(len(fixed_D), width**2)
    gram = (known @ squares).reshape(-1, width, width) + penalty * np.eye(width)
    return np.asarray(np.linalg.solve(gram, (left @ fixed_D)[:, :, None])[:, :, 0])
