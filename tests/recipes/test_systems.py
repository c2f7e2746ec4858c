"""The systems' recipes, made small: each trains on a log that has what it asks for."""

import numpy as np
import pytest
import torch

from ray_userrep import recipes
from ray_userrep.corpus.splits import resolve
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.evaluation.baselines import Popularity
from ray_userrep.evaluation.histories import read_histories, read_train
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.runs import read_records
from ray_userrep.training.step import TrainModel, prepare_micros, train_step
from tests.ranks import fit_bare
from tests.recipes.conftest import NUM_ITEMS, SYSTEMS, walks
from tests.training.conftest import NUM_ITEMS as NUM_WALKED
from tests.training.conftest import write_corpus

WIDTH = 16


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_small_one_learns(table, name):
    recipe = recipes.recipe(name)
    small = {"width": WIDTH, "dropout": 0.0, "backbone": recipe.encoder.backbone.model_copy(update={"dropout": 0.0})}
    torch.manual_seed(0)
    encoder_config = recipe.encoder.model_copy(update=small)
    encoder = build_encoder(encoder_config, table, 12, recipe.objective.hides_items())
    data = ObjectiveData(table, ("domain",), lambda: np.ones(NUM_ITEMS, np.int64))
    objective = build_objective(recipe.objective, encoder_config, data)
    train = recipe.train.model_copy(update={"learning_rate": 1e-2})
    engine = BareEngine(TrainModel(encoder, objective), train, torch.device("cpu"))
    weights_P = torch.tensor(objective.weights)
    losses = []
    for step in range(40):
        micros = prepare_micros(objective, [walks()], Draws(0, step, 0), 0)
        losses.append(float((train_step(engine, micros, 1e-2) * weights_P).sum()))
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("sasrec", True), ("bert4rec", True), ("cl4srec", True), ("unisrec", True), ("peterrec_noncausal", True),
        ("two_towers", True), ("transrec", True),
        ("shopperbert", False), ("userbert", False), ("clue_icdm", False), ("clue_naver", False),
        ("userbert_rakuten", False),
    ],
)  # fmt: skip
def test_a_user_vector_that_never_met_an_item_s_is_not_judged_by_ranking(name, ranks):
    recipe = recipes.recipe(name)
    assert recipe.objective.ranks_items(recipe.encoder) == ranks


def test_hstu_learns_beside_sasrec_on_a_log_of_a_hundred_users(tmp_path):
    """The recipes as they are, on users who walk through sixty items: what comes next hangs on what came last."""
    corpus = write_corpus(str(tmp_path / "corpus"), num_users=100)
    found = {}
    for name in ("sasrec", "hstu"):
        fit_bare(recipes.recipe(name), corpus, tmp_path / name)
        judged = [r["ndcg@10"] for r in read_records(str(tmp_path / name)) if r["kind"] == "validation"]
        found[name] = max(judged)
    split = resolve(recipes.recipe("hstu").split, corpus, 1.0)
    histories = read_histories(corpus, split, "valid", None)
    popularity = Popularity().fit(read_train(corpus, split, "valid"), NUM_WALKED)
    simple = ndcg(ranks(popularity, histories, NUM_WALKED, True), 10).mean()
    assert found["sasrec"] > 3 * simple and found["hstu"] > max(3 * simple, 0.7 * found["sasrec"])
