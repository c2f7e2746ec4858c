"""What needs no model of text, to stand beside it: counting on from the highest number seen, and means of ratings.

Shapes: R targets, V items, N interactions.
"""

import numpy as np
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


def item_means(corpus: Corpus, split: Split) -> NDArray[np.float64]:
    """The mean rating of each item over what is trained on, that of all where it has none, `[V]`."""
    sums_V, counts_V = np.zeros(corpus.manifest.num_items), np.zeros(corpus.manifest.num_items)
    for number in corpus.buckets():
        one = learned(corpus, split, number, 1)
        known = ~np.isnan(one.rating_R)
        sums_V += np.bincount(one.item_R[known], one.rating_R[known], minlength=len(sums_V))
        counts_V += np.bincount(one.item_R[known], minlength=len(counts_V))
    mean = sums_V.sum() / max(1.0, counts_V.sum())
    return np.where(counts_V > 0, sums_V / np.maximum(counts_V, 1), mean)
