"""Training a model of text: the loop of encoders, on any number of workers, stopped and gone on with."""

import shutil

import numpy as np
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.generative.fit import fit_text, load_text_model
from ray_userrep.generative.lexicon import LEXICON, Lexicon
from ray_userrep.generative.measure import measure_text, measured_prompts
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.runs import read_records
from tests.generative.conftest import learn, small_text
from tests.ranks import losses, on_ranks


def drop(record):
    """Records are read from the run."""


def fit_bare(recipe, corpus, run):
    learn(recipe, corpus, run)
    fit_text(recipe, corpus, str(run), lambda m: BareEngine(m, recipe.train, torch.device("cpu")), drop)


def fit_rank(recipe_json, corpus_uri, run_uri):
    """A rank's part of a fit."""
    from ray_userrep.distributed import zero

    zero.quiet()
    recipe = Recipe.model_validate_json(recipe_json)
    make = lambda m: zero.ZeroEngine(m, recipe.train, torch.device("cpu"))  # noqa: E731
    fit_text(recipe, open_corpus(corpus_uri), run_uri, make, drop)


@pytest.mark.parametrize("more", [{}, {"train.zero.stage": 3}])
def test_two_workers_learn_what_one_does(reviews, tmp_path, more):
    recipe = small_text()
    fit_bare(recipe, reviews, tmp_path / "bare")
    chosen = small_text(**more)
    learn(chosen, reviews, tmp_path / "two")
    given = (chosen.model_dump_json(), reviews.uri, str(tmp_path / "two"))
    assert on_ranks(2, fit_rank, tmp_path / "meeting", *given) == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == 6 and expected[-1] < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-5)
    ours, theirs = (load_text_model(str(tmp_path / run)).state_dict() for run in ("bare", "two"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-4)


def test_a_run_that_was_stopped_inside_an_epoch_goes_on_bit_for_bit(reviews, tmp_path):
    recipe = small_text(**{"train.checkpoint_every": 0.05, "generative.dropout": 0.1})
    fit_bare(recipe, reviews, tmp_path)
    whole, weights = losses(tmp_path), load_text_model(str(tmp_path)).state_dict()
    steps = sorted((tmp_path / "checkpoints").iterdir())
    assert 0 < int(steps[0].name.split("-")[1]) < len(whole)
    shutil.rmtree(steps[-1])
    fit_bare(recipe, reviews, tmp_path)
    assert losses(tmp_path) == whole
    assert all(torch.equal(value, weights[name]) for name, value in load_text_model(str(tmp_path)).state_dict().items())


def test_a_small_one_learns_ratings_texts_and_next_items(reviews, tmp_path):
    recipe = small_text(**{
        "evaluation.max_users": 12, "generative.unconstrained": 5, "train.max_steps": 50,
        "train.learning_rate": 1e-2, "generative.families": ("rating", "sequential", "review"),
    })  # fmt: skip
    fit_bare(recipe, reviews, tmp_path)
    judged = [r["log likelihood"] for r in read_records(str(tmp_path)) if r["kind"] == "validation"]
    assert judged[-1] > judged[0] or len(judged) == 1
    model, lexicon = load_text_model(str(tmp_path)), Lexicon.load(storage.join(str(tmp_path), LEXICON))
    found = measure_text(recipe, reviews, resolve(recipe.split, reviews), model, lexicon)
    assert set(found["prompts"]) == {prompt.name for prompt in measured_prompts(recipe)}
    for one in found["prompts"].values():
        assert one["rows"] == found["test_users"] and one["metrics"]
    assert set(found["baselines"]["item"]) == {"counting on, numbers own", "counting on, numbers first seen"}
    ratings = found["baselines"]["rating"]
    assert ratings["item mean"]["rmse"]["mean"] < 1e-6  # items are rated by their number alone
    assert ratings["commonest rating"]["mae"]["mean"] > 0.5
    assert found["invalid"]["sequential"]["with the trie"] == 0
    assert found["prompts"]["rating-1"]["metrics"]["rmse"]["mean"] < 3
    assert found["prompts"]["review-1"]["metrics"]["rouge1"]["mean"] > 30  # "a … one" is half of every summary
