"""Dealing users into training, validation and test: by a hash of their id, so that none is ever in two of them.

Being a hash, the deal is the same in every version of a corpus and on every machine; the price is that the parts have
about, not exactly, the shares that were asked for.

Shapes: U users.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus import draws

_PART, _ORDER = 40, 41  # what a draw is for


class UserParts(NamedTuple):
    """Rows of the users in each part; those of training in the order in which smaller shares take them."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


def deal(users_U: NDArray[np.int64], valid_share: float, test_share: float, seed: int) -> UserParts:
    """Deal users out by their stable hashes."""
    draw_U = draws.uniforms(_PART, seed, users_U)
    is_test_U, is_valid_U = draw_U < test_share, (draw_U >= test_share) & (draw_U < test_share + valid_share)
    return as_dealt(users_U, np.where(is_test_U, "test", np.where(is_valid_U, "valid", "train")), seed)


def as_dealt(users_U: NDArray[np.int64], parts_U: NDArray[np.str_], seed: int) -> UserParts:
    """Rows by the part that each is in; the order of training goes by users, so that all rows of one come together."""
    order = np.argsort(draws.bits(_ORDER, seed, users_U), kind="stable")
    return UserParts(
        order[parts_U[order] == "train"], np.flatnonzero(parts_U == "valid"), np.flatnonzero(parts_U == "test")
    )
