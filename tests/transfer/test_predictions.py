"""What is kept of a task: a model that scores as its stored numbers say, and scores of every row that has a label."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load
from scipy.special import expit, softmax

from ray_userrep import storage
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.transfer import TableTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.plain import Frozen
from ray_userrep.transfer.encoders import Keeper
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.model import load_model
from ray_userrep.transfer.tasks.build import read_label_tasks

USERS = np.arange(260)
KINDS = {
    "binary": {"label": np.where(USERS % 2, "yes", "no")},
    "classes": {"label": USERS % 2 + 2 * (USERS % 7 == 0)},
    "values": {"label": USERS % 2 * 100 + USERS / 10},
    "several": {"labels": [["odd"] * (user % 2) + ["seventh"] * (user % 7 == 0) for user in USERS.tolist()]},
}


def kept(corpus, encoder, recipe, place, **columns):
    """The task of a table, and what was kept of a fit to it under a place."""
    storage.write_parquet(f"{place}/labels.parquet", pa.table({"user_id": USERS} | columns))
    config = TransferConfig(task=TableTaskConfig(labels=f"{place}/labels.parquet"), columns=())
    (task,) = read_label_tasks(config, corpus, LeaveOneOutConfig(), ())
    arm, fit, uri = Frozen("frozen_mlp", 4), FitSpec(1.0, 0, 0.01, "whole"), f"{place}/fit"

    def make(fitted):
        return lambda model: BareEngine(model, fitted.train, torch.device("cpu"))

    outcome, keeper = fit_task(recipe, corpus, encoder, task, arm, fit, uri, make), Keeper(recipe.transfer)
    keeper.offer(arm, fit, outcome, uri)
    return task, keeper.export(recipe, lambda seed: encoder, task, place, "cpu")


def by_hand(place, histories):
    """Scores from the files of a model alone, users in the order of the histories."""
    weights = load(storage.read_bytes(f"{place}/models/labels/head.safetensors"))
    head = json.loads(storage.read_text(f"{place}/models/labels/head.json"))
    encoder = UserEncoder.from_pretrained(f"{place}/models/labels")
    inner = torch.from_numpy(read_vectors(encoder, histories) @ weights["0.weight"].T + weights["0.bias"])
    out = torch.nn.functional.gelu(inner).numpy() @ weights["2.weight"].T + weights["2.bias"]
    if head["kind"] == "classes":
        return softmax(out / head["temperatures"], axis=1)
    return (
        expit(out / head["temperatures"]) if head["kind"] == "several" else out[:, 0] * head["scale"] + head["centre"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_stored_head_by_hand(corpus, make_encoder, recipe, tmp_path, kind):
    task, found = kept(corpus, make_encoder(), recipe, str(tmp_path), **KINDS[kind])
    rows = storage.read_parquet(found["head"]["predictions"])
    assert rows.column_names == ["user_id", "until", "split", "label", "score"] and rows["until"].null_count == 260
    assert sorted(rows["user_id"].to_pylist()) == USERS.tolist()
    of_test = rows.filter(pa.array([part == "test" for part in rows["split"].to_pylist()]))
    assert of_test.num_rows == task.num_users("test")
    scores = by_hand(str(tmp_path), task._histories.take(task._parts.test))
    told = np.array(of_test["score"].to_pylist())
    np.testing.assert_allclose(told, scores[:, 1] if kind == "binary" else scores, rtol=1e-4, atol=1e-5)
    given = dict(zip(USERS.tolist(), next(iter(KINDS[kind].values())), strict=True))
    for user, label in zip(of_test["user_id"].to_pylist(), of_test["label"].to_pylist(), strict=True):
        assert label == (str(given[user]) if kind in ("binary", "classes") else given[user])
    assert (found["head"]["calibration"] is None) == (kind == "values")


def test_temperatures_are_chosen_without_the_test_users(corpus, make_encoder, recipe, tmp_path):
    label = np.where(np.random.default_rng(0).uniform(size=260) < 0.2, 1 - USERS % 2, USERS % 2)
    task, before = kept(corpus, make_encoder(), recipe, str(tmp_path / "a"), label=label)
    label[task.known_of("test")["user_id"].to_numpy()] ^= 1
    _, after = kept(corpus, make_encoder(), recipe, str(tmp_path / "b"), label=label)
    told, other = before["head"]["calibration"], after["head"]["calibration"]
    assert told["temperatures"] == other["temperatures"] and told["brier"] != other["brier"]


def test_a_model_that_was_changed_is_not_read(corpus, make_encoder, recipe, tmp_path):
    kept(corpus, make_encoder(), recipe, str(tmp_path), **KINDS["binary"])
    model = f"{tmp_path}/models/labels"
    assert load_model(model).classes == ["no", "yes"]
    with pytest.raises(UserError, match="no model at"):
        load_model(str(tmp_path))
    config = storage.read_text(f"{model}/head.json")
    storage.write_text(f"{model}/head.json", config.replace('"yes"', '"no"'))
    with pytest.raises(UserError, match=r"head\.json is missing or was changed"):
        load_model(model)
    storage.write_text(f"{model}/head.json", config)
    make_encoder(width=16, readout="mean").save_pretrained(f"{model}/encoder")
    with pytest.raises(UserError, match="the encoder of its head is missing or was changed"):
        load_model(model)
