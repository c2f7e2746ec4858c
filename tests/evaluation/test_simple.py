"""Simple methods that are measured once and read after."""

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.simple import measured_once
from ray_userrep.evaluation.statistics import HEADLINE
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from tests.training.conftest import write_corpus


def test_what_is_stored_is_read_for_the_same_split_and_measured_anew_for_another(tmp_path):
    corpus, place = write_corpus(f"{tmp_path}/corpus"), f"{tmp_path}/simple.json"
    split, config = resolve(LeaveOneOutConfig(), corpus), EvaluationConfig(num_bootstrap=100)
    found = measured_once(corpus, split, config, place)
    tuned = tuned_baselines(corpus, split, config)
    means = {name: figures[HEADLINE]["mean"] for name, figures in found.figures.items()}
    assert found.best == max(means, key=means.__getitem__) and means.keys() == tuned.keys()
    for name, one in tuned.items():
        np.testing.assert_array_equal(found.ranks[name], one.ranks_U)
    storage.write_json(place, storage.read_object(place) | {"best": "told"})
    again = measured_once(corpus, split, config, place)
    assert again.best == "told" and again.figures == found.figures
    np.testing.assert_equal(again.ranks, found.ranks)
    assert measured_once(corpus, split, config.model_copy(update={"ks": (5, 10)}), place).best == found.best
