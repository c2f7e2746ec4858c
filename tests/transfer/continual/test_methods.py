"""Sequences of tasks on a toy log: what masks keep bit for bit, and what fine-tuning in turn forgets."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_known
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.transfer import AttributeTaskConfig, NextItemTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.continual import fit as continual
from ray_userrep.transfer.continual.fit import learn_sequence, predict
from ray_userrep.transfer.continual.methods import METHODS, Stage, encoder_of, head_of
from ray_userrep.transfer.tasks.attribute import read_attribute_tasks
from ray_userrep.transfer.tasks.base import HeadShape, headline
from ray_userrep.transfer.tasks.next_item import NextItemTask

BACKBONES = {
    "cnn": {"kind": "cnn", "num_blocks": 1},
    "transformer": {"kind": "transformer", "num_layers": 1, "num_heads": 2, "gated": True, "positions": "learned"},
}
BATCH = Batch.of([[1, 2, 3, 4], [35, 6], [7]])


def bare(recipe):
    return lambda model: BareEngine(model, recipe.train, torch.device("cpu"))


@pytest.fixture
def world(recipe, corpus, split, write_corpus, tmp_path):
    """A sequence of next items, two attributes, and the next items of other users in another catalogue."""
    transfer = recipe.transfer.model_copy(update={"epochs": 3.0, "learning_rates": (0.03,), "weight_decay": 0.1})
    train = recipe.train.model_copy(update={"epochs": 5.0, "learning_rate": 0.02, "weight_decay": 0.1})
    stream = recipe.stream.model_copy(update={"batch_tokens": 256})
    recipe = recipe.model_copy(update={"transfer": transfer, "train": train, "stream": stream})
    other = write_corpus(str(tmp_path / "other"), num_users=120, seed=1, first_item=1000)

    def stages(backbone):
        config = EncoderConfig.model_validate({"width": 16, "backbone": BACKBONES[backbone]})
        torch.manual_seed(0)
        fresh, foreign = (build_encoder(config, c.items(), recipe.stream.max_len) for c in (corpus, other))
        attributes = TransferConfig(task=AttributeTaskConfig(attributes=("half", "age")), columns=())
        next_items = [
            NextItemTask(c, (), NextItemTaskConfig(), recipe.objective, recipe.evaluation, "tile")
            for c in (corpus, other)
        ]
        half, age = read_attribute_tasks(corpus, split, read_known(corpus, split), attributes)
        tasks = [(next_items[0], fresh), (half, fresh), (age, fresh), (next_items[1], foreign)]
        return [Stage(f"{n} {t.name}", t, e, str(e is fresh)) for n, (t, e) in enumerate(tasks)]

    corpora = [corpus, corpus, corpus, other]
    return SimpleNamespace(recipe=recipe, stages=stages, corpora=corpora, uri=str(tmp_path / "run"))


def learn(world, method, stages, uri=None):
    told = []
    learned = learn_sequence(
        world.recipe,
        stages,
        world.corpora[: len(stages)],
        METHODS[method],
        uri or world.uri,
        bare,
        lambda s, _: told.append(s.name),
    )
    assert told == [stage.name for stage in stages]
    return learned


@pytest.mark.parametrize("backbone", BACKBONES)
def test_masks_keep_old_logits_bit_for_bit_and_frozen_weights_still(backbone, world):
    stages, method = world.stages(backbone), METHODS["conure"]
    kept = [one.kept for one in learn(world, "conure", stages)]
    for task in range(len(stages)):
        then = encoder_of(method, stages, kept[: task + 1], task)
        heads = stages[task].task.objective(then, 1.0, HeadShape())
        heads.load_state_dict(head_of(kept, task))
        for newest in range(task + 1, len(stages)):
            now = encoder_of(method, stages, kept[: newest + 1], task)
            assert torch.equal(then(BATCH), now(BATCH))
            assert torch.equal(then.items(None), now.items(None))
            assert (predict(method, stages, kept[: newest + 1], task) == predict(method, stages, kept, task)).all()
            for name, owner in kept[task].owners.items():
                mine = owner > 0
                assert torch.equal(kept[newest].owners[name][mine], owner[mine])
                assert torch.equal(kept[newest].own[name][mine], kept[task].own[name][mine])
    for name, owner in kept[-1].owners.items():
        shares = [float((owner == task).float().mean()) for task in range(1, 5)]
        assert shares == pytest.approx([0.3, 0.21, 0.147, 0.1029], abs=2 / owner.numel())
        later = (owner > 1) & (kept[-1].own[name] != 0)
        assert later.sum() > 0.9 * (owner > 1).sum()  # later tasks did learn weights of their own


def test_what_has_no_mask_is_the_first_tasks_or_a_catalogues(world):
    stages = world.stages("cnn")
    kept = [one.kept for one in learn(world, "conure", stages)]
    everything, masked = {n for n, _ in stages[0].fresh.named_parameters()}, set(kept[0].owners)
    assert [set(one.own) for one in kept] == [everything, masked, masked, masked | {"items.weight"}]
    assert [bool(one.heads) for one in kept] == [False, True, True, False]


def test_fine_tuning_in_turn_forgets_and_the_others_do_not(world):
    stages = world.stages("cnn")
    learned = {method: learn(world, method, stages) for method in METHODS}
    measure, truth_U = stages[0].task.measures["ndcg@10"], stages[0].task.truth("test")
    figures = {name: [measure(truth_U, one.predicted[0]) for one in found] for name, found in learned.items()}
    assert figures["in_turn"][-1] < figures["in_turn"][0] - 0.1
    for method in ("conure", "fine_all", "head_only", "single"):
        assert len(set(figures[method])) == 1 and figures[method][0] > 0.3
    assert figures["single"][0] == figures["in_turn"][0] == figures["fine_all"][0] == figures["head_only"][0]
    trained = {name: [set(one.kept.own) for one in found] for name, found in learned.items()}
    everything = {n for n, _ in stages[0].fresh.named_parameters()}
    assert trained["head_only"] == [everything, set(), set(), {"items.weight"}]
    assert trained["in_turn"] == trained["fine_all"] == trained["single"] == [everything] * 4


def test_tasks_that_train_along_are_not_forgotten_and_their_heads_move_with_the_encoder(world):
    stages = world.stages("cnn")
    learned = {name: learn(world, name, stages) for name in ("multi_task", "in_turn")}
    measure, truth_U = stages[0].task.measures["ndcg@10"], stages[0].task.truth("test")
    last = {name: measure(truth_U, found[2].predicted[0]) for name, found in learned.items()}
    assert last["multi_task"] > last["in_turn"] + 0.1
    kept = [one.kept for one in learned["multi_task"]]
    assert [{name.split("/")[0] for name in one.heads} for one in kept] == [set(), {"1"}, {"1", "2"}, set()]
    assert not torch.equal(kept[1].heads["1/head.0.weight"], kept[2].heads["1/head.0.weight"])
    assert torch.equal(head_of(kept, 1)["head.0.weight"], kept[2].heads["1/head.0.weight"])


def test_where_a_method_starts_a_task(world):
    stages = world.stages("cnn")[:3]
    kept = {name: [one.kept for one in learn(world, name, stages)][:2] for name in METHODS if name != "conure"}
    start = {name: encoder_of(METHODS[name], stages, found, 2)(BATCH) for name, found in kept.items()}
    then = {number: encoder_of(METHODS["in_turn"], stages, kept["in_turn"][: number + 1], number) for number in (0, 1)}
    assert torch.equal(start["single"], stages[2].fresh.eval()(BATCH))
    assert torch.equal(start["in_turn"], then[1](BATCH)) and not torch.equal(then[0](BATCH), then[1](BATCH))
    assert torch.equal(start["fine_all"], then[0](BATCH)) and torch.equal(start["head_only"], then[0](BATCH))
    foreign = world.stages("cnn")[3]
    here = encoder_of(METHODS["in_turn"], [*stages[:2], foreign], kept["in_turn"], 2)
    assert torch.equal(here.items(None), foreign.fresh.items(None))  # item vectors do not go to other items
    assert torch.equal(here.backbone.norm.weight, kept["in_turn"][1].own["backbone.norm.weight"])


def test_retraining_goes_on_from_the_head_and_ends_with_what_the_task_is_run_with(world, monkeypatch):
    stages, heads, adapt = world.stages("cnn")[:2], [], continual.adapt

    def told(recipe, corpus, engine, *rest):
        heads.append({name: value.clone() for name, value in engine.model.objective.state_dict().items()})
        state = adapt(recipe, corpus, engine, *rest)
        heads.append({name: value.clone() for name, value in engine.model.objective.state_dict().items()})
        return state

    monkeypatch.setattr(continual, "adapt", told)
    learned = learn(world, "conure", stages)
    trained, retrained = heads[5], heads[6]
    assert trained and all(torch.equal(trained[name], retrained[name]) for name in trained)
    kept = [one.kept for one in learned]
    for number, (stage, one) in enumerate(zip(stages, learned, strict=True)):
        encoder, task = encoder_of(METHODS["conure"], stages, kept[: number + 1], number), stage.task
        objective = task.objective(encoder, 1.0, HeadShape())
        objective.load_state_dict(head_of(kept, number))
        predicted_U = task.predict(encoder, objective, "valid")
        assert task.measures[headline(task)](task.truth("valid"), predicted_U) == one.validation


def test_a_sequence_that_was_cut_short_goes_on_with_its_unfinished_task(world, monkeypatch, tmp_path):
    stages, phases = world.stages("cnn")[:2], []
    whole = learn(world, "conure", stages, str(tmp_path / "whole"))
    phase = continual.adapt

    def cut_short(*args):
        phases.append(args[-1])
        if len(phases) == 4:  # the second task, behind its pruning
            raise KeyboardInterrupt
        return phase(*args)

    monkeypatch.setattr(continual, "adapt", cut_short)
    with pytest.raises(KeyboardInterrupt):
        learn(world, "conure", stages)
    assert [uri.rsplit("/", 1)[-1] for uri in phases] == ["train", "retrain"] * 2
    place, data = f"{world.uri}/conure/1-{stages[0].name}".replace(" ", "_"), stages[0].task.data(1.0)
    first = continual._read(place, data)
    with pytest.raises(UserError, match="other users or labels"):
        continual._read(place, f"{data} of another log")
    phases.clear()
    monkeypatch.setattr(continual, "adapt", lambda *args: phases.append(args[-1]) or phase(*args))
    resumed = learn(world, "conure", stages)
    assert len(phases) == 2 and all("/2-1_half/" in uri for uri in phases)
    assert first.seconds == resumed[0].seconds
    for one, other in zip(whole, resumed, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.predicted, other.predicted, strict=True))
        for group in ("own", "heads", "owners"):
            a, b = getattr(one.kept, group), getattr(other.kept, group)
            assert set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)
