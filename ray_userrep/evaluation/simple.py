"""The simple methods as they stand beside an encoder: figures of each, and every user's ranks.

They know nothing of the encoder, so that runs over one split can share them: what was tuned once is stored and read.

Shapes: U users.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.sampling import ORDER
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.statistics import HEADLINE, summary
from ray_userrep.recipe.evaluation import EvaluationConfig


class Simple(NamedTuple):
    """Figures and setting of each simple method by name, which is best, and the ranks of each on test, `[U]`."""

    figures: dict[str, dict[str, Any]]
    best: str
    ranks: dict[str, NDArray[np.int64]]


def measure_simple(corpus: Corpus, split: Split, config: EvaluationConfig) -> Simple:
    """Every simple method tuned on validation and measured on test."""
    users_U = read_histories(corpus, split, "test", config.max_users).users_U
    tuned = tuned_baselines(corpus, split, config)
    figures = {name: summary(one.ranks_U, config, users_U) | {"setting": one.setting} for name, one in tuned.items()}
    best = max(tuned, key=lambda name: figures[name][HEADLINE]["mean"])
    return Simple(figures, best, {name: one.ranks_U for name, one in tuned.items()})


def measured_once(corpus: Corpus, split: Split, config: EvaluationConfig, uri: str) -> Simple:
    """What is stored at a place of the same split and the same way to measure; measured and stored where nothing is."""
    of = [split.fingerprint(corpus.manifest, config.exclude_seen), config.model_dump(mode="json"), ORDER]
    if storage.exists(uri) and (stored := storage.read_object(uri))["of"] == of:
        ranks = {name: np.array(ranks_U, np.int64) for name, ranks_U in stored["ranks"].items()}
        return Simple(stored["figures"], stored["best"], ranks)
    found = measure_simple(corpus, split, config)
    ranks_of = {name: ranks_U.tolist() for name, ranks_U in found.ranks.items()}
    storage.write_json(uri, {"of": of, "figures": found.figures, "best": found.best, "ranks": ranks_of})
    return found
