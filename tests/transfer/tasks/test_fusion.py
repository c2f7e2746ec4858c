"""Columns beside the vector, in trees and in heads: on labels that were planted in one, in the other, or in both."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.evaluation.histories import read_known
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.transfer import AttributeTaskConfig, TransferConfig
from ray_userrep.report.pages import fusion as page
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.plain import Frozen, Full, Scratch
from ray_userrep.transfer.figures import Comparison, task_figures
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.attribute import read_attribute_tasks

NUM_USERS = 400
HALF = np.arange(NUM_USERS) % 2  # shows in the items
GROUP = np.random.default_rng(1).integers(0, 2, NUM_USERS)  # shows in the users' table only
NAMES = np.array(["no", "yes"])


def task_of(corpus, **fields):
    config = TransferConfig(task=AttributeTaskConfig(attributes=("label",)), **fields)
    split = resolve(LeaveOneOutConfig(), corpus)
    (task,) = read_attribute_tasks(corpus, split, read_known(corpus, split), config)
    return task


def planted(write_corpus, tmp_path, label, **columns):
    return write_corpus(str(tmp_path / "planted"), num_users=NUM_USERS, label=NAMES[label], **columns)


@pytest.fixture
def encoder(make_encoder):
    """Vectors that tell the halves of the catalogue apart."""
    encoder = make_encoder(kind="mean", num_layers=0)
    with torch.no_grad():
        encoder.items.weight[: len(encoder.items.weight) // 2, :8] += 1
        encoder.items.weight[len(encoder.items.weight) // 2 :, 8:] += 1
    return encoder


def figures_of(task, encoder, recipe):
    fusion = task.fusion(encoder, [0.5, 1.0])
    nothing = {0.5: {}, 1.0: {}}
    return fusion, task_figures(Comparison(task, nothing, nothing, fusion, None, {}), recipe)


def test_a_label_of_items_and_a_column_takes_both(write_corpus, tmp_path, encoder, recipe):
    corpus = planted(write_corpus, tmp_path, HALF & GROUP, group=NAMES[GROUP], noise=np.arange(NUM_USERS) * 37 % 101)
    task = task_of(corpus)
    fusion, result = figures_of(task, encoder, recipe)
    auc = {name: roc_auc_score(task.truth("test"), found[:, 1]) for name, found in fusion[1.0].items()}
    assert list(auc) == ["own columns", "own columns and vector", "vector"]
    assert auc["own columns and vector"] > 0.95 > 0.9 > max(auc["own columns"], auc["vector"])
    kept = result["fusion"]
    assert kept["columns"] == ["group", "noise"] and set(kept["shares"]) == {"0.5", "1"}
    most = kept["shares"]["1"]
    assert {name: row["auc"]["mean"] for name, row in most["metrics"].items()} == pytest.approx(auc)
    added = most["over_columns"]
    assert 0 < added["low"] < added["mean"] < added["high"] and added["p"] < 0.05
    assert added["mean"] == pytest.approx(auc["own columns and vector"] - auc["own columns"])
    assert page.sentence(result).startswith(f"The vector adds {added['mean']:+.3f} [")
    assert page.sentence(result).endswith("AUC to trees on the columns you have.")
    assert "group, noise" in page.section("label", result).body
    told = task.baselines(1.0)["boosted trees on own columns and tempo"]
    assert (told == fusion[1.0]["own columns"]).all()


def test_without_columns_there_is_still_when_users_came(corpus, encoder, recipe):
    config = TransferConfig(task=AttributeTaskConfig(attributes=("half",)), columns=())
    split = resolve(LeaveOneOutConfig(), corpus)
    (task,) = read_attribute_tasks(corpus, split, read_known(corpus, split), config)
    _, result = figures_of(task, encoder, recipe)
    assert result["fusion"]["columns"] == [] and "trees on when and how often users came" in page.sentence(result)
    assert "boosted trees on own columns and tempo" not in task.baselines(1.0)


@pytest.mark.parametrize("arm", [Frozen("frozen_mlp", 8), Full(), Scratch()], ids=lambda arm: arm.name)
def test_heads_with_columns_learn_what_only_a_column_tells(write_corpus, tmp_path, make_encoder, recipe, arm):
    told = np.where(np.arange(NUM_USERS) % 13 == 0, 1 - GROUP, GROUP)
    some = [None if user % 7 == 0 else NAMES[group] for user, group in enumerate(told)]
    corpus, found = planted(write_corpus, tmp_path, GROUP, told=some), {}
    for beside in (True, False):
        task = task_of(corpus, beside_columns=beside)
        place, fit = str(tmp_path / f"fit-{beside}"), FitSpec(1.0, 0, 0.03)
        engine = lambda fitted: lambda model: BareEngine(model, fitted.train, torch.device("cpu"))  # noqa: E731
        outcome = fit_task(recipe, corpus, make_encoder(), task, arm, fit, place, engine)
        found[beside] = roc_auc_score(task.truth("test"), outcome.predicted_U[:, 1])
        assert outcome.validation > 0.8 or not beside
    assert found[True] > 0.8 and found[False] < 0.65


def test_another_key_names_what_is_trained_on_with_columns(write_corpus, tmp_path):
    corpus = planted(write_corpus, tmp_path, HALF & GROUP, group=NAMES[GROUP], noise=np.arange(NUM_USERS) % 101)
    asked = [{}, {"beside_columns": True}, {"beside_columns": True, "columns": ("noise",)}]
    assert len({task_of(corpus, **fields).data(1.0) for fields in asked}) == 3


def test_users_without_a_history_are_counted_and_left_out(write_corpus, tmp_path):
    corpus = planted(write_corpus, tmp_path, HALF)
    asked = task_of(corpus).num_users("train")
    assert task_of(corpus).thin_users() == {"without_history": 0, "of_one": 0}
    more = {"user_id": np.arange(NUM_USERS + 9), "label": [*NAMES[HALF], *["no"] * 5, *[None] * 4]}
    storage.write_parquet(storage.join(corpus.uri, "data/users.parquet"), pa.table(more))
    assert task_of(corpus).thin_users() == {"without_history": 5, "of_one": 0}
    assert task_of(corpus).num_users("train") == asked
