"""Choosing a baseline's setting on validation, and its ranks on test.

A tuned baseline is refitted with the validation interactions before the test, since the encoder's user vector sees
them too. Settings are few and written down in `baselines.FAMILIES`.

Shapes: U users.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.baselines import FAMILIES, Baseline
from ray_userrep.evaluation.data import Histories, Sequences
from ray_userrep.evaluation.histories import read_histories, read_train
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.recipe.evaluation import EvaluationConfig

_TUNING_USERS = 5000


class Tuned(NamedTuple):
    """A baseline's chosen setting and its ranks on test, `[U]`."""

    setting: dict[str, Any]
    ranks_U: NDArray[np.int64]


def tuned_baselines(corpus: Corpus, split: Split, config: EvaluationConfig) -> dict[str, Tuned]:
    """Every baseline family with its best setting."""
    num_items = corpus.manifest.num_items
    train, train_for_test = read_train(corpus, split, "valid"), read_train(corpus, split, "test")
    valid = read_histories(corpus, split, "valid", _TUNING_USERS)
    test = read_histories(corpus, split, "test", config.max_users)
    tuned = {}
    for name, settings in FAMILIES.items():
        best = best_setting(settings, train, valid, num_items, config.exclude_seen)
        found = ranks(best.fit(train_for_test, num_items), test, num_items, config.exclude_seen)
        tuned[name] = Tuned(asdict(best), found)  # type: ignore[call-overload]
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
