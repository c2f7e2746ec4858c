"""What people make of a history without training anything: counts by tf-idf, their SVD, and when and how often.

Everything is of the whole history. These are what a learned vector has to be worth more than; none of them sees a
label. Rows of counts have unit length, so that busy users do not take up the leading directions.

Shapes: U users, V items, N interactions, F features.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from ray_userrep.evaluation.histories import Sequences

Features = NDArray[np.float64]
_DAY = 86_400 * 10**6
_WINDOWS = (7, 30, 90)  # days before the cut


def item_counts(histories: Sequences, num_items: int) -> csr_matrix:
    """How often each user took each item, `[U, V]`."""
    ones = np.ones(len(histories.items_N))
    counts = csr_matrix((ones, histories.items_N, histories.offsets_U1), shape=(histories.num_users, num_items))
    counts.sum_duplicates()
    return counts


def tf_idf(histories: Sequences, num_items: int) -> csr_matrix:
    """Log counts of each item times the log of how few of these users have it, rows of unit length, `[U, V]`."""
    counts = item_counts(histories, num_items)
    users_V = np.bincount(counts.indices, minlength=num_items)
    counts.data = np.log1p(counts.data)
    return normalize(counts @ diags(np.log1p(histories.num_users / np.maximum(users_V, 1)))).tocsr()


def svd(counts_UV: csr_matrix, width: int) -> Features:
    """The leading singular vectors times their singular values, `[U, F]`.

    The values stay: brought to one variance, the smallest directions, mostly noise, would speak as loudly as the
    largest. A model that standardises its inputs does just that, and makes a weaker baseline of them.
    """
    components = min(width, counts_UV.shape[1] - 1, counts_UV.shape[0] - 1)
    reduced: Features = TruncatedSVD(components, random_state=0).fit_transform(counts_UV)
    return reduced


def tempo(histories: Sequences, cut: int | NDArray[np.int64], timed: bool = True) -> Features:
    """When and how often users came before a cut (us) of all or of each, `[U, 10]`; all of them have a history.

    Log days since the newest and the oldest interaction and of the mean gap, its spread over the mean, log numbers of
    interactions, of distinct items and of those in the last 7, 30 and 90 days, and the share that is taken again: what
    predicts a return by itself (Fader, Hardie & Lee 2005). Where the log is not `timed`, all ages are 0 and only the
    numbers are left.
    """
    cut_N = np.repeat(np.broadcast_to(cut, histories.num_users), histories.lengths_U)
    if not timed:
        histories = replace(histories, times_N=cut_N)
    first_U, last_U = histories.offsets_U1[:-1], histories.offsets_U1[1:] - 1
    user_N = np.repeat(np.arange(histories.num_users), histories.lengths_U)
    age_N = (cut_N - histories.times_N) / _DAY
    distinct_U = np.bincount(np.unique(np.stack([user_N, histories.items_N]), axis=1)[0], minlength=len(first_U))
    gaps_U, mean_U, spread_U = histories.lengths_U - 1, *_gaps(histories, user_N)
    recent = [np.bincount(user_N[age_N <= days], minlength=len(first_U)) for days in _WINDOWS]
    columns = [age_N[last_U], age_N[first_U], np.where(gaps_U > 0, mean_U, 0.0), *recent]
    logs = [np.log1p(np.maximum(column, 0)) for column in [*columns, histories.lengths_U, distinct_U]]
    return np.column_stack([*logs, spread_U, 1 - distinct_U / histories.lengths_U])


def _gaps(histories: Sequences, user_N: NDArray[np.int64]) -> tuple[Features, Features]:
    """The mean of the days between a user's interactions, and their standard deviation over it, `[U]` both."""
    days_N = np.diff(histories.times_N, prepend=histories.times_N[:1]) / _DAY
    days_N[histories.offsets_U1[:-1]] = 0.0
    num_U = np.maximum(histories.lengths_U - 1, 1)
    mean_U = np.bincount(user_N, days_N, histories.num_users) / num_U
    squares_U = np.bincount(user_N, days_N**2, histories.num_users) / num_U
    spread_U = np.sqrt(np.maximum(squares_U - mean_U**2, 0)) / np.maximum(mean_U, 1e-9)
    return mean_U, spread_U
