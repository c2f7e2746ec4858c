"""A rank's whole part of a run by the bare loop: learning, resuming, stopping, refusing."""

import math
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import DivergedError, UserError
from ray_userrep.evaluation.histories import read_train, refuse_unmeasured
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.evaluation.universality import ask_future
from ray_userrep.feed.plan import Position
from ray_userrep.recipe.corpus import ColdUserConfig, LeaveOneOutConfig
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.callbacks import Log, Validate
from ray_userrep.training.checkpoint import Checkpoints
from ray_userrep.training.fit import build_model, fit
from ray_userrep.training.loop import TrainState
from ray_userrep.training.records import MetricsFile, progress_line
from ray_userrep.training.runs import read_records
from tests.ranks import losses
from tests.training.conftest import write_corpus


def run(recipe, corpus, run_uri, on_record=lambda record: None):
    engines = []

    def make(model):
        engines.append(BareEngine(model, recipe.train, torch.device("cpu")))
        return engines[-1]

    state = fit(recipe, corpus, str(run_uri), make, on_record)
    return state, engines[0]


def checkpoints(corpus, run_uri):
    data = resolve(LeaveOneOutConfig(), corpus).fingerprint(corpus.manifest, False)
    return Checkpoints(str(run_uri), 2, data)


class Killed(Exception):
    pass


def test_it_learns_and_exports_the_best_encoder(corpus, recipe, tmp_path):
    state, _ = run(recipe(**{"train.epochs": 8.0}), corpus, tmp_path / "run")
    curve = losses(tmp_path / "run")
    assert len(curve) == state.step
    assert np.isfinite(curve).all() and curve[0] < np.log(60) + 2
    assert curve[-1] < 0.6 * curve[0]
    encoder = UserEncoder.from_pretrained(str(tmp_path / "run" / "encoder"))
    assert state.best_metric is not None and state.best_metric > 0.3
    train = [record for record in read_records(str(tmp_path / "run")) if record["kind"] == "train"]
    assert all(record["flop_utilisation"] > 0 and record["peak_memory_bytes"] > 0 for record in train)
    assert encoder.item_table is not None and len(encoder.item_table) == 60


def test_the_item_table_is_held_at_the_start_and_at_the_end_alone(corpus, recipe, tmp_path, monkeypatch):
    read, seen = [], []
    whole = type(corpus).items
    monkeypatch.setattr(corpus, "items", lambda: read.append(len(seen)) or whole(corpus))
    run(recipe(**{"train.max_steps": 4, "train.log_every": 1}), corpus, tmp_path / "run", seen.append)
    assert len(read) == 2 and read[0] == 0 and read[1] > 4, "not while there are steps"
    exported = UserEncoder.from_pretrained(str(tmp_path / "run" / "encoder")).item_table
    assert exported.table.equals(corpus.items().table)


@pytest.mark.parametrize("items", ["id", "rows"])
def test_items_learn_at_a_rate_of_their_own(corpus, recipe, tmp_path, items):
    """The first step of Adam moves a weight by its learning rate."""
    one_step = {"train.max_steps": 1, "train.weight_decay": 0.0, "train.schedule.kind": "constant"}
    rates = {"train.schedule.warmup_share": 0.0, "train.learning_rate": 1e-3, "train.item_learning_rate": 2e-2}
    softmax = {"kind": "sampled", "num_negatives": 20} if items == "rows" else {"kind": "full"}
    fields = {"encoder.items": {"kind": items}, "objective.softmax": softmax}
    chosen = recipe(**{**one_step, **rates, **fields})
    before = build_model(chosen, corpus, resolve(LeaveOneOutConfig(), corpus)).encoder.state_dict()
    _, engine = run(chosen, corpus, tmp_path / "run")
    moved = {name: (value - before[name]).abs().max() for name, value in engine.model.encoder.state_dict().items()}
    rates = {name.split(".")[0]: [] for name in moved}
    for name, most in moved.items():
        if most > 0:  # behind branches that begin at zero nothing moves
            rates[name.split(".")[0]].append(float(most))
    assert rates["items"] == pytest.approx([2e-2], rel=0.01) and len(rates["backbone"]) > 1
    assert rates["backbone"] == pytest.approx([1e-3] * len(rates["backbone"]), rel=0.01)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_stopped_mid_epoch_goes_on_as_if_nothing_happened(corpus, recipe, tmp_path, dropout):
    chosen = recipe(**{"encoder.backbone.dropout": dropout, "train.checkpoint_every": 0.3})
    _, whole = run(chosen, corpus, tmp_path / "whole")
    interrupted_at = len(losses(tmp_path / "whole")) * 2 // 3

    def kill(record):
        if record["step"] >= interrupted_at:
            raise Killed

    with pytest.raises(Killed):
        run(chosen, corpus, tmp_path / "cut", kill)
    _, resumed = run(chosen, corpus, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_micro_batches_do_not_change_what_is_learned(corpus, recipe, tmp_path):
    run(recipe(), corpus, tmp_path / "one")
    run(recipe(**{"stream.micro_tokens": 40}), corpus, tmp_path / "many")
    assert losses(tmp_path / "many") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_the_seed_decides_everything(corpus, recipe, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(recipe(seed=seed), corpus, tmp_path / name)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_it_stops_when_validation_no_longer_gets_better(corpus, recipe, tmp_path):
    chosen = recipe(**{"train.learning_rate": 1e-12, "train.epochs": 30.0, "train.patience": 2})
    state, _ = run(chosen, corpus, tmp_path / "run")
    assert state.stale_validations == 2
    validations = [r for r in read_records(str(tmp_path / "run")) if r["kind"] == "validation"]
    assert len(validations) < 30 and validations[-1]["stopped"]


def test_where_no_vector_learns_to_rank_items_the_loss_decides_which_weights_are_kept(corpus, recipe, tmp_path):
    contrast = {"objective": {"kind": "contrastive", "views": "subsequences"}}
    said = []
    state, _ = run(recipe(**contrast, **{"train.epochs": 6.0}), corpus, tmp_path / "run", said.append)
    validations = [r for r in read_records(str(tmp_path / "run")) if r["kind"] == "validation"]
    likelihoods = [r["log likelihood"] for r in validations]
    assert state.best_metric == max(likelihoods) > likelihoods[0]
    assert -np.log(64) < max(likelihoods) < 0
    assert f"log likelihood {likelihoods[-1]:.4f}" in [progress_line(r) for r in said if r["kind"] == "validation"][-1]


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(corpus, recipe, tmp_path):
    chosen = recipe(**{"train.checkpoint_every": 0.2, "train.log_every": 100, "train.epochs": 3.0})

    run_uri = tmp_path / "run"
    engines = []

    class Breaking(BareEngine):
        """One gradient overflows, as a bad batch or a faulty device would make it."""

        steps = 0

        def step(self, learning_rate):
            self.steps += 1
            if self.steps == 9:
                next(self.model.encoder.parameters()).grad[0, 0] = float("inf")
            return super().step(learning_rate)

    def make(model):
        engines.append(Breaking(model, chosen.train, torch.device("cpu")))
        return engines[-1]

    with pytest.raises(DivergedError, match="at step 9"):
        fit(chosen, corpus, str(run_uri), make, lambda record: None)
    engine = BareEngine(engines[0].model, chosen.train, torch.device("cpu"))
    state = checkpoints(corpus, run_uri).load_latest(engine)
    assert state is not None and 0 < state.step < 9
    assert all(torch.isfinite(p).all() for p in engines[0].model.parameters())


@pytest.mark.parametrize("kind", ["weights", "moments"])
def test_a_changed_checkpoint_is_not_opened(corpus, recipe, tmp_path, kind):
    _, engine = run(recipe(), corpus, tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    with (newest / f"{kind}-00000-of-00001.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=rf"{kind}-00000-of-00001\.safetensors is missing or was changed"):
        checkpoints(corpus, tmp_path / "run").load_latest(engine)
    shutil.rmtree(newest)
    older = checkpoints(corpus, tmp_path / "run").load_latest(engine)
    assert older is not None and older.position != Position()


def test_a_checkpoint_without_manifest_does_not_exist(corpus, recipe, tmp_path):
    _, engine = run(recipe(), corpus, tmp_path / "run")
    for manifest in (tmp_path / "run" / "checkpoints").rglob("manifest.json"):
        manifest.unlink()
    assert checkpoints(corpus, tmp_path / "run").load_latest(engine) is None


def test_a_checkpoint_of_another_model_or_of_other_data_is_refused(corpus, recipe, tmp_path):
    run(recipe(), corpus, tmp_path / "run")
    _, wider = run(recipe(**{"encoder.width": 24}), corpus, tmp_path / "wider")
    with pytest.raises(UserError, match=r"is of another model: encoder\.\S+ has \d+ elements there and \d+ here"):
        checkpoints(corpus, tmp_path / "run").load_latest(wider)
    with pytest.raises(UserError, match="was written while training on other data"):
        Checkpoints(str(tmp_path / "wider"), 2, "another fingerprint").load_latest(wider)


def test_what_was_frozen_then_cannot_be_trained_now(corpus, recipe, tmp_path):
    def engine(model, frozen):
        model.encoder.items.requires_grad_(not frozen)
        return BareEngine(model, recipe().train, torch.device("cpu"))

    engines = []

    def make(model):
        engines.append(engine(model, frozen=True))
        return engines[-1]

    fit(recipe(), corpus, str(tmp_path / "run"), make, lambda record: None)
    with pytest.raises(UserError, match="lacks a part of what is trained here"):
        checkpoints(corpus, tmp_path / "run").load_latest(engine(engines[0].model, frozen=False))


def test_only_the_newest_checkpoints_stay(corpus, recipe, tmp_path):
    run(recipe(**{"train.checkpoint_every": 0.2, "train.keep_checkpoints": 3}), corpus, tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 3


def test_records_tell_rate_wait_and_time_left(corpus, recipe, tmp_path):
    lines = []
    run(recipe(), corpus, tmp_path / "run", lambda record: lines.append(progress_line(record)))
    train = next(line for line in lines if "loss" in line)
    assert all(word in train for word in ("interactions/s", "waiting for data", "left", "%"))
    assert any("validation  hr@" in line or "validation  ndcg@" in line for line in lines)
    assert list(Path(tmp_path / "run" / "tensorboard").glob("events*"))


def test_state_survives_json():
    state = TrainState(step=3, position=Position(1, 2), seconds=1.5, best_metric=0.2, best_step=1)
    assert TrainState.from_json(state.to_json()) == state


BAG = {"encoder.bag_width": 12, "encoder.bag_kept": 5, "encoder.readout": "bag", "objective": {
    "kind": "weighted", "parts": [
        {"weight": 1.0, "objective": {"kind": "autoregressive"}}, {"weight": 1.0, "objective": {"kind": "history"}},
    ],
}}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, BAG])
def test_the_vector_decides_which_weights_are_kept_where_it_is_told_to(corpus, recipe, tmp_path, changes):
    chosen = recipe(**{"train.select": "vector", "train.eval_every": 0.5}, **changes)
    state, _ = run(chosen, corpus, tmp_path / "run")
    told = {r["step"]: r["future r2"] for r in read_records(str(tmp_path / "run")) if r["kind"] == "validation"}
    assert len(told) > 2 and state.best_step == max(told, key=told.__getitem__)
    kept = UserEncoder.from_pretrained(f"{tmp_path}/run/encoder")
    users = read_train(corpus, resolve(LeaveOneOutConfig(), corpus), "valid")
    question = ask_future(users.take(np.flatnonzero(users.lengths_U)))
    assert question.explained(read_vectors(kept, question.known)) == pytest.approx(told[state.best_step], abs=0.03)


def test_too_few_users_to_judge_a_vector_by_are_refused(recipe, tmp_path):
    few = write_corpus(str(tmp_path / "corpus"), num_users=50)
    with pytest.raises(UserError, match=r"train\.select vector: fewer than 100 users have 4 interactions before"):
        run(recipe(**{"train.select": "vector"}), few, tmp_path / "run")


@pytest.mark.parametrize("part, named", [("valid", "validate on"), ("test", "test on")])
def test_a_split_that_leaves_nobody_to_measure_is_refused_by_its_rule(corpus, part, named):
    nobody = ColdUserConfig(**{f"{part}_share": 1e-9})
    with pytest.raises(UserError, match=f"an interaction to {named}: split.rule cold_user needs more"):
        refuse_unmeasured(corpus, resolve(nobody, corpus), "cold_user")


def test_a_run_without_validation_users_does_not_begin(corpus, recipe, tmp_path):
    with pytest.raises(UserError, match="an interaction to validate on"):
        run(recipe(split=ColdUserConfig(valid_share=1e-9)), corpus, tmp_path / "run")
    assert not (tmp_path / "run" / "encoder").exists()


class Halfway:
    """As much of a loop as a validation asks for."""

    def __init__(self, model):
        self.state, self.engine, self.stopped = TrainState(step=1), self, False
        self.model, self.config, self.total_steps = model, TrainConfig(), 1

    def interval(self, epochs):
        return 1

    def paused(self):
        return nullcontext()


def test_a_validation_that_is_not_a_number_is_never_the_best(tmp_path):
    kept, told, values = [], [], iter([math.nan, 0.1, math.nan, 0.2])
    loop = Halfway(torch.nn.Linear(1, 1))
    log = Log(("part",), (1.0,), 1.0, told.append)
    validate = Validate(
        lambda: {"metric": next(values)}, "metric", lambda: kept.append(loop.state.step), log, told.append
    )
    for loop.state.step in range(1, 5):
        validate.on_step(loop, torch.zeros(1))
        if loop.state.step == 1:
            with pytest.raises(DivergedError, match="metric was never a number"):
                validate.on_end(loop)
    validate.on_end(loop)
    assert kept == [2, 4] and loop.state.best_metric == 0.2
    file = MetricsFile(str(tmp_path), 0)
    for record in told:
        file(record)
    file.flush()
    assert [record["metric"] for record in read_records(str(tmp_path))] == [None, 0.1, None, 0.2]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_of_errors_the_smallest_is_kept_and_patience_counts_from_it():
    kept, values = [], iter([0.9, 0.5, 0.7, 0.6])
    loop = Halfway(torch.nn.Linear(1, 1))
    loop.config = TrainConfig(patience=2)
    log = Log(("part",), (1.0,), 1.0, lambda record: None)
    validate = Validate(
        lambda: {"mae": next(values)}, "mae", lambda: kept.append(loop.state.step), log, lambda record: None, sign=-1
    )
    for loop.state.step in range(1, 5):
        validate.on_step(loop, torch.zeros(1))
    assert kept == [1, 2] and loop.state.best_metric == 0.5 and loop.state.best_step == 2 and loop.stopped
