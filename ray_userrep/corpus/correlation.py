"""How much two columns of a catalogue tell of each other, beyond what chance makes of many values and few items.

Mutual information grows with the number of values even where two columns have nothing to do with each other: what
shuffled columns show is taken off, and the rest is a share of the most that there could be (the adjusted mutual
information of Vinh, Epps & Bailey, JMLR 2010, with the smaller entropy, and with shuffles in place of the exact mean).
An item counts once, however many values it has: its weight is shared by the pairs of them. Only items of which both
columns are known count, and of a large catalogue so many as tell it well enough.

Shapes: V items, F columns, N values of all items, P pairs of values of all items.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges

_MOST_ITEMS, _MOST_VALUES = 20_000, 8
_NUM_SHUFFLES, _SEED = 5, 20_240_304


class Values(NamedTuple):
    """A column's values as numbers from 0: how many each item has, `[V]`, and they themselves end to end, `[N]`."""

    lengths_V: NDArray[np.int64]
    codes_N: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Values":
        """The values of some items, in their order."""
        starts_V = np.cumsum(self.lengths_V) - self.lengths_V
        return Values(self.lengths_V[rows], self.codes_N[ranges(starts_V[rows], self.lengths_V[rows])])


def correlations(features: Mapping[str, pa.ListArray]) -> NDArray[np.float64]:
    """The share of what each column could tell of each other that it tells beyond chance, from 0 to 1, `[F, F]`."""
    columns = [values_of(lists) for lists in features.values()]
    found_FF = np.eye(len(columns))
    for a in range(len(columns)):
        for b in range(a):
            found_FF[a, b] = found_FF[b, a] = correlation(columns[a], columns[b])
    return found_FF


def values_of(lists: pa.ListArray) -> Values:
    """The first few values of each item's list; of a large catalogue those of items drawn from it, the same always."""
    if len(lists) > _MOST_ITEMS:
        lists = lists.take(pa.array(np.sort(np.random.default_rng(_SEED).permutation(len(lists))[:_MOST_ITEMS])))
    lengths_V = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    codes_N = lists.flatten().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first_V = np.minimum(lengths_V, _MOST_VALUES)
    return Values(first_V, codes_N[ranges(np.cumsum(lengths_V) - lengths_V, first_V)])


def correlation(a: Values, b: Values) -> float:
    """The adjusted mutual information of two columns, 0 where there is nothing to know or nothing beyond chance."""
    known = np.flatnonzero((a.lengths_V > 0) & (b.lengths_V > 0))
    a, b, rng = a.take(known), b.take(known), np.random.default_rng(_SEED)
    most = min(_entropy(a), _entropy(b))
    by_chance = [mutual_information(a, b.take(rng.permutation(len(known)))) for _ in range(_NUM_SHUFFLES)]
    chance = float(np.mean(by_chance))
    if most - chance <= 1e-9:
        return 0.0
    return float(np.clip((mutual_information(a, b) - chance) / (most - chance), 0, 1))


def mutual_information(a: Values, b: Values) -> float:
    """The mutual information of a value of a and one of b, of an item drawn from all, in nats."""
    if not len(a.lengths_V):
        return 0.0
    pairs_V = a.lengths_V * b.lengths_V
    item_P = np.repeat(np.arange(len(pairs_V)), pairs_V)
    place_P = ranges(np.zeros_like(pairs_V), pairs_V)
    a_P, b_P = (
        one.codes_N[(np.cumsum(one.lengths_V) - one.lengths_V)[item_P] + at_P]
        for one, at_P in ((a, place_P // b.lengths_V[item_P]), (b, place_P % b.lengths_V[item_P]))
    )
    weight_P = 1 / pairs_V[item_P] / len(pairs_V)
    keys, pair_P = np.unique(a_P * (b_P.max() + 1) + b_P, return_inverse=True)
    joint = np.bincount(pair_P, weight_P)
    share_a, share_b = np.bincount(a_P, weight_P), np.bincount(b_P, weight_P)
    alone = share_a[keys // len(share_b)] * share_b[keys % len(share_b)]
    return float((joint * np.log(joint / alone)).sum())


def _entropy(values: Values) -> float:
    weight_N = np.repeat(1 / values.lengths_V / max(1, len(values.lengths_V)), values.lengths_V)
    shares = np.bincount(values.codes_N, weight_N)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
