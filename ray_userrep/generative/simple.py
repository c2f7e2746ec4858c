"""What needs no model of text, to stand beside it: counting on, means of ratings, and one answer for everybody.

Shapes: R targets, V items, N interactions.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Histories
from ray_userrep.generative.subjects import learned

MISSED = 2**31  # the rank of a target that is not among the answers


def counting_ranks(histories: Histories, number_V: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks where all that is answered is the item after the highest number seen, `[R]`: 1 or MISSED.

    It learns nothing. Where items are numbered as users have them, it tells what numbers alone give away.
    """
    offsets, items = histories.offsets_U1, histories.items_N
    highest_R = np.maximum.reduceat(np.append(number_V[items], 0), offsets[:-1])
    highest_R[histories.lengths_U == 0] = 0
    return np.where(number_V[histories.targets_U] == highest_R + 1, 1, MISSED)


def trained_ratings(corpus: Corpus, split: Split) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The items and the ratings that are trained on, `[N]` both."""
    parts = [learned(corpus, split, number, 1) for number in corpus.buckets()]
    known = [~np.isnan(one.rating_R) for one in parts]
    items = [one.item_R[there] for one, there in zip(parts, known, strict=True)]
    ratings = [one.rating_R[there] for one, there in zip(parts, known, strict=True)]
    return np.concatenate([np.zeros(0, np.int64), *items]), np.concatenate([np.zeros(0), *ratings])


def item_means(items_N: NDArray[np.int64], ratings_N: NDArray[np.float64], num_items: int) -> NDArray[np.float64]:
    """The mean rating of each item, that of all where it has none, `[V]`."""
    sums_V = np.bincount(items_N, ratings_N, minlength=num_items)
    counts_V = np.bincount(items_N, minlength=num_items)
    mean = ratings_N.sum() / max(1, len(ratings_N))
    return np.where(counts_V > 0, sums_V / np.maximum(counts_V, 1), mean)


def commonest_text(texts: Iterable[pa.Array]) -> str:
    """The text that is there most often, of equally common ones the first in their order; empty where there is none."""
    counts = Counter(text for some in texts for text in some.to_pylist())
    return min(counts, key=lambda text: (-counts[text], text), default="")
