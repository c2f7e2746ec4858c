"""Ranking metrics of one relevant item a user, each an array over users.

A user with several targets counts once, with the mean over them: users are what intervals are made of.

Shapes: U users, W targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hit_rate(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 where the target is among the first k."""
    return (ranks_U <= k).astype(np.float64)


def ndcg(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(rank + 1) where the target is among the first k (Järvelin & Kekäläinen 2002, one relevant item)."""
    return np.where(ranks_U <= k, 1 / np.log2(ranks_U + 1), 0.0)


def mrr(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / rank where the target is among the first k."""
    return np.where(ranks_U <= k, 1 / ranks_U, 0.0)


def per_user(
    ranks_W: NDArray[np.int64], ks: Sequence[int], users_W: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """All metrics at all cut-offs, named as `ndcg@10`; without users every target is a user of its own."""
    families = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}
    return {
        f"{name}@{k}": user_means(metric(ranks_W, k), users_W)
        for k in sorted({10, *ks})
        for name, metric in families.items()
    }


def user_means(values_W: NDArray[np.float64], users_W: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """The mean over each user's targets, `[U]`, users in the order of their first target."""
    if users_W is None:
        return values_W
    _, first, user_W = np.unique(users_W, return_index=True, return_inverse=True)
    means = np.bincount(user_W, values_W) / np.bincount(user_W)
    return means[np.argsort(first)]
