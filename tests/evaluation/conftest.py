"""Random histories to rank."""

import numpy as np
import pytest

from ray_userrep.evaluation.histories import Histories


def _random_histories(num_users: int, num_items: int, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, num_users)
    total = int(lengths.sum())
    return Histories(
        items_N=rng.integers(0, num_items, total),
        times_N=np.sort(rng.integers(0, 10**13, total)),
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]),
        users_U=rng.permutation(num_users),
        targets_U=rng.integers(0, num_items, num_users),
    )


@pytest.fixture
def random_histories():
    return _random_histories
