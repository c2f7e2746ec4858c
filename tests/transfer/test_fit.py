"""One arm fitted to one task by the training loop: it learns, stops, keeps the best weights and is done once."""

import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.best import read_best
from ray_userrep.training.runs import read_records
from ray_userrep.transfer.arms.plain import Full, Scratch
from ray_userrep.transfer.fit import FitSpec, adapt, build_transfer, drop_weights, fit_task, fitted_recipe
from ray_userrep.transfer.tasks.next_item import NextItemTask
from tests.training.conftest import small_recipe, write_corpus

FIT = FitSpec(1.0, 0, 0.01)


@pytest.fixture
def world(tmp_path):
    """A recipe, a corpus, an untrained encoder over it and the task of its next items."""
    corpus = write_corpus(str(tmp_path / "corpus"))
    chosen = small_recipe(**{"transfer.epochs": 4.0, "transfer.batch_tokens": 128, "transfer.arms": ("full",)})
    torch.manual_seed(1)  # other first weights than scratch is drawn
    encoder = build_encoder(chosen.encoder, corpus.items(), chosen.stream.max_len).eval()
    task = NextItemTask(corpus, (), NextItemTaskConfig(), chosen.objective, chosen.evaluation, "tile")
    return chosen, corpus, encoder, task


def run(world, uri, arm=None, **changes):
    recipe, corpus, encoder, task = world
    engines = []

    def make(fitted):
        def made(model):
            engines.append(BareEngine(model, fitted.train, torch.device("cpu")))
            return engines[-1]

        return made

    recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update=changes)})
    return fit_task(recipe, corpus, encoder, task, arm or Full(), FIT, str(uri), make), engines


def test_it_learns_the_task_and_is_done_once(world, tmp_path):
    task = world[3]
    before = ndcg(task.predict(world[2], None, "test"), 10).mean()
    outcome, engines = run(world, tmp_path)
    assert before < 0.2 and ndcg(outcome.predicted_U, 10).mean() > before + 0.2
    validations = [r for r in read_records(str(tmp_path)) if r["kind"] == "validation"]
    assert outcome.validation == max(r["ndcg@10"] for r in validations) and len(validations) == 4
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2 and read_best(str(tmp_path))
    again, no_engines = run(world, tmp_path)
    assert not no_engines and len(engines) == 1
    assert (again.predicted_U == outcome.predicted_U).all() and again[:-1] == outcome[:-1]
    drop_weights(str(tmp_path))
    assert [file.name for file in tmp_path.rglob("*.safetensors")] == ["predicted.safetensors"]


def test_test_users_are_predicted_by_the_weights_that_validation_liked_best(world, tmp_path):
    outcome, engines = run(world, tmp_path, epochs=40.0, patience=2)
    assert outcome.best_step < outcome.steps < 40 * 10 * 128  # stopped after it was best
    model = engines[0].model.eval()
    valid = ndcg(world[3].predict(model.encoder, model.objective, "valid"), 10).mean()
    assert valid == pytest.approx(outcome.validation)


def test_training_that_stopped_early_is_not_gone_on_with(world, tmp_path):
    recipe, corpus, encoder, task = world
    transfer = recipe.transfer.model_copy(update={"epochs": 40.0, "patience": 2})
    fitted = fitted_recipe(recipe.model_copy(update={"transfer": transfer}), encoder, task, FIT)
    states = []
    for _ in range(2):
        engine = BareEngine(build_transfer(fitted, encoder, task, Full(), 1.0)[0], fitted.train, torch.device("cpu"))
        states.append(adapt(fitted, corpus, engine, task, 1.0, str(tmp_path)))
    assert states[0] == states[1] and states[0].stale_validations == 2


def test_little_data_are_passed_over_more_often_with_as_many_validations(world, tmp_path):
    plain, _ = run(world, tmp_path / "plain", patience=None)
    longer, _ = run(world, tmp_path / "longer", patience=None, min_steps=3 * plain.steps)
    assert longer.steps == 3 * plain.steps
    validated = {
        place: [r["step"] for r in read_records(str(tmp_path / place)) if r["kind"] == "validation"]
        for place in ("plain", "longer")
    }
    assert validated["longer"] == [3 * step for step in validated["plain"]] and len(validated["plain"]) == 4


def test_seed_and_start_decide_the_outcome(world, tmp_path):
    same = [run(world, tmp_path / name, Scratch(), epochs=1.0)[0].predicted_U for name in ("a", "b")]
    assert (same[0] == same[1]).all()
    assert (run(world, tmp_path / "c", Full(), epochs=1.0)[0].predicted_U != same[0]).any()


def test_users_of_the_task_are_told_by_its_split(world):
    _, corpus, _, task = world
    split = resolve(LeaveOneOutConfig(), corpus)
    assert task.data(1.0).startswith(split.fingerprint(corpus.manifest, False)) and task.data(1.0) != task.data(0.5)
