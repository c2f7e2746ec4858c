"""Ranking metrics of one relevant item a user, each an array over users.

Shapes: U users.
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


def per_user(ranks_U: NDArray[np.int64], ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """All metrics at all cut-offs, named as `ndcg@10`."""
    families = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}
    return {f"{name}@{k}": metric(ranks_U, k) for k in sorted({10, *ks}) for name, metric in families.items()}
