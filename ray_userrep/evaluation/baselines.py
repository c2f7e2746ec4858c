"""The simple systems that an encoder has to beat, each tuned on validation like anything else.

They count and look up: popularity (all time, recent), item-to-item transitions (Markov), windowed co-occurrence, and
repeating what the user had last. Item-to-item tables are sparse; scores are dense for a few users at a time only. A
tuned baseline is refitted with the validation interactions before the test, since the encoder's user vector sees them
too. Settings are few and written down in `FAMILIES`. What is counted are the users of a sample in one process's memory:
with more than `fitted_users` of them, rare pairs of items are known less well than they could be.

Shapes: U users, B users of a chunk, V items, N interactions.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Histories, Sequences, read_histories, read_train
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.evaluation.ranking import Scorer, ranks
from ray_userrep.recipe.evaluation import EvaluationConfig

_DAY_US = 86_400_000_000
_TIE_BREAK = 1e-6  # of the largest score: popularity decides only between what is otherwise equal


class Baseline(Protocol):
    """A setting of a baseline; fitting it to interactions gives a scorer."""

    def fit(self, train: Sequences, num_items: int) -> Scorer: ...


@dataclass(frozen=True)
class Popularity:
    """How often an item occurs, in all the log or in its last `days`."""

    days: float | None = None

    def fit(self, train: Sequences, num_items: int) -> Scorer:
        counts_V = torch.from_numpy(popularity(train, num_items, self.days))
        return lambda histories: counts_V.expand(histories.num_users, -1)


@dataclass(frozen=True)
class RepeatLast:
    """The user's own items, newest first; then everything else by popularity."""

    def fit(self, train: Sequences, num_items: int) -> Scorer:
        prior_V = _tie_break(train, num_items)
        return lambda histories: torch.from_numpy(_recency(histories, num_items).toarray() + prior_V)


@dataclass(frozen=True)
class ItemToItem:
    """Items that followed (or surrounded) the user's last items elsewhere in the log.

    Pairs up to `window` apart count 1/distance, in both directions if `symmetric`; the user's newest `last` items vote
    with weight `decay` to the power of their age; votes are divided by popularity to the power `damping`.
    """

    window: int
    symmetric: bool
    last: int
    decay: float
    damping: float

    def fit(self, train: Sequences, num_items: int) -> Scorer:
        counts_V = np.maximum(popularity(train, num_items, None), 1.0)
        damp = sparse.diags_array(counts_V**-self.damping)
        table_VV = (pair_counts(train, num_items, self.window, self.symmetric) @ damp).tocsr().astype(np.float32)
        prior_V = _tie_break(train, num_items) * max(float(table_VV.max()), 1e-12)

        def scores(histories: Histories) -> Tensor:
            votes_BV = _votes(histories, num_items, self.last, self.decay)
            return torch.from_numpy((votes_BV @ table_VV).toarray() + prior_V)

        return scores


FAMILIES: dict[str, Sequence[Baseline]] = {
    "popularity": (Popularity(),),
    "recent popularity": tuple(Popularity(days) for days in (1, 3, 7, 14, 30, 60, 120)),
    "repeat last": (RepeatLast(),),
    "Markov": tuple(
        ItemToItem(1, False, last, decay, damping)
        for (last, decay), damping in product(((1, 1.0), (2, 0.3), (3, 0.5), (5, 0.7)), (0.0, 0.25, 0.5))
    ),
    "co-occurrence": tuple(
        ItemToItem(window, True, last, decay, damping)
        for window, (last, decay), damping in product(
            (3, 10), ((1, 1.0), (2, 0.3), (5, 0.7), (10, 0.8)), (0.0, 0.25, 0.5)
        )
    ),
}


def popularity(train: Sequences, num_items: int, days: float | None) -> NDArray[np.float32]:
    """Interactions of each item, in the last `days` of the log or in all of it, `[V]`."""
    items_N = train.items_N
    if days is not None and len(items_N):
        items_N = items_N[train.times_N > train.times_N.max() - days * _DAY_US]
    return np.bincount(items_N, minlength=num_items).astype(np.float32)


def pair_counts(train: Sequences, num_items: int, window: int, symmetric: bool) -> sparse.csr_array:
    """Summed 1/distance of item pairs (earlier, later) up to `window` apart in one user's sequence, `[V, V]`."""
    user_N = np.repeat(np.arange(train.num_users), train.lengths_U)
    total = sparse.csr_array((num_items, num_items), dtype=np.float64)
    for distance in range(1, window + 1):
        same = user_N[distance:] == user_N[:-distance]
        pairs = train.items_N[:-distance][same], train.items_N[distance:][same]
        total += sparse.coo_array((np.full(same.sum(), 1 / distance), pairs), (num_items, num_items)).tocsr()
    return total + total.T if symmetric else total


def _votes(histories: Histories, num_items: int, last: int, decay: float) -> sparse.csr_array:
    """The newest `last` items of each history, weighted by age, `[B, V]`."""
    kept_B = np.minimum(histories.lengths_U, last)
    items = histories.items_N[ranges(histories.offsets_U1[1:] - kept_B, kept_B)]
    age = np.repeat(kept_B, kept_B) - 1 - ranges(np.zeros_like(kept_B), kept_B)
    user = np.repeat(np.arange(len(kept_B)), kept_B)
    weights = (decay**age).astype(np.float32)
    return sparse.coo_array((weights, (user, items)), (len(kept_B), num_items)).tocsr()


def _recency(histories: Histories, num_items: int) -> sparse.csr_array:
    """For each item of a history the place of its newest occurrence, from 1, `[B, V]`."""
    lengths_B = histories.lengths_U
    place = ranges(np.ones_like(lengths_B), lengths_B)
    key = np.repeat(np.arange(len(lengths_B)), lengths_B) * num_items + histories.items_N
    cells, newest = np.unique(key[::-1], return_index=True)
    shape = (len(lengths_B), num_items)
    return sparse.coo_array(
        (place[::-1][newest].astype(np.float32), (cells // num_items, cells % num_items)), shape
    ).tocsr()


def _tie_break(train: Sequences, num_items: int) -> NDArray[np.float32]:
    counts_V = popularity(train, num_items, None)
    return counts_V / max(float(counts_V.max(initial=0)), 1.0) * _TIE_BREAK


_TUNING_USERS = 5000


class Tuned(NamedTuple):
    """A baseline's chosen setting and its ranks on test, `[U]`."""

    setting: dict[str, Any]
    ranks_U: NDArray[np.int64]


def tuned_baselines(corpus: Corpus, split: Split, config: EvaluationConfig) -> dict[str, Tuned]:
    """Every baseline family with its best setting; says of each when it is done, as they may take minutes."""
    num_items = corpus.manifest.num_items
    train, train_for_test = (
        read_train(corpus, split, part, max_users=config.fitted_users) for part in ("valid", "test")
    )
    valid = read_histories(corpus, split, "valid", _TUNING_USERS)
    test = read_histories(corpus, split, "test", config.max_users)
    tuned = {}
    for name, settings in FAMILIES.items():
        began = time.perf_counter()
        best = best_setting(settings, train, valid, num_items, config.exclude_seen)
        found = ranks(best.fit(train_for_test, num_items), test, num_items, config.exclude_seen)
        tuned[name] = Tuned(asdict(best), found)  # type: ignore[call-overload]
        tried = f"best of {len(settings)} settings" if len(settings) > 1 else "nothing to tune"
        print(f"baseline  {name:18s} {time.perf_counter() - began:6.1f} s  {tried}", flush=True)
    return tuned


def best_setting(
    settings: Sequence[Baseline],
    train: Sequences,
    valid: Histories,
    num_items: int,
    exclude_seen: bool,
) -> Baseline:
    """The setting with the highest NDCG@10 on validation; the first of equals."""
    if len(settings) == 1 or valid.num_users == 0:
        return settings[0]
    scores = [ndcg(ranks(s.fit(train, num_items), valid, num_items, exclude_seen), 10).mean() for s in settings]
    return settings[int(np.argmax(scores))]
