"""DeepSpeed on real workers against the bare loop: the same global batches give the same losses."""

import shutil

import numpy as np
import pytest
import torch

from ray_userrep.distributed.workers import fit_distributed
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.runs import read_records

STEPS = 30


def curve(run_uri):
    return [loss for r in read_records(str(run_uri)) if r["kind"] == "train" for loss in r["losses"]]


def validations(run_uri, metric):
    return [r[metric] for r in read_records(str(run_uri)) if r["kind"] == "validation"]


@pytest.fixture
def bare(corpus, recipe, tmp_path):
    """The bare loop's losses and encoder, and the recipe they come from."""

    def run(chosen):
        uri = tmp_path / "bare"
        fit(chosen, corpus, str(uri), lambda m: BareEngine(m, chosen.train, torch.device("cpu")), lambda record: None)
        return curve(uri), UserEncoder.from_pretrained(str(uri / "encoder"))

    return run


def thirty_steps(recipe, **changes):
    return recipe(**{"train.max_steps": STEPS, "train.epochs": 9.0, "stream.micro_tokens": 48, **changes})


@pytest.mark.parametrize(
    ("workers", "stage", "more"),
    [
        (1, 0, {}),
        (2, 0, {}),
        (2, 1, {"train.item_learning_rate": 0.02}),
        (2, 2, {"train.zero.offload_optimizer": "cpu"}),
        (2, 3, {"train.item_learning_rate": 0.02}),
        (2, 3, {"train.zero.init": True}),
    ],
)
def test_every_stage_trains_as_the_bare_loop_does(ray_session, corpus, recipe, bare, tmp_path, workers, stage, more):
    chosen = thirty_steps(recipe, **{
        "train.num_workers": workers, "train.cpus_per_worker": 1, "train.zero.stage": stage, **more,
    })  # fmt: skip
    expected, encoder = bare(chosen)
    fit_distributed(chosen, corpus, str(tmp_path / "run"), lambda record: None)
    assert len(expected) == STEPS
    np.testing.assert_allclose(curve(tmp_path / "run"), expected, rtol=1e-5)
    exported = UserEncoder.from_pretrained(str(tmp_path / "run" / "encoder"))
    for ours, theirs in zip(exported.parameters(), encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_partitioned_workers_go_on_as_if_nothing_happened(ray_session, corpus, recipe, tmp_path):
    chosen = recipe(**{
        "train.num_workers": 2, "train.cpus_per_worker": 1, "train.zero.stage": 3, "train.checkpoint_every": 0.4,
    })  # fmt: skip
    fit_distributed(chosen, corpus, str(tmp_path / "run"), lambda record: None)
    whole = curve(tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    shutil.rmtree(newest)  # what a crash before the last checkpoint leaves
    fit_distributed(chosen, corpus, str(tmp_path / "run"), lambda record: None)
    assert curve(tmp_path / "run") == whole


CONTRAST = {"objective": {"kind": "contrastive", "views": "subsequences"}}
IN_BATCH = {
    "objective": {"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1}},
    "encoder.unit_items": True,
}


@pytest.mark.parametrize(("stage", "changes"), [(0, CONTRAST), (3, CONTRAST), (0, IN_BATCH), (3, IN_BATCH)])
def test_negatives_of_both_workers_are_the_joint_batch_s(ray_session, corpus, recipe, bare, tmp_path, stage, changes):
    """In-batch negatives are gathered with gradients: two workers learn what one learns from the whole batch."""
    chosen = recipe(**{
        "train.max_steps": STEPS, "train.epochs": 30.0, "train.num_workers": 2, "train.cpus_per_worker": 1,
        "train.zero.stage": stage, **changes,
    })  # fmt: skip
    expected, _ = bare(chosen)
    fit_distributed(chosen, corpus, str(tmp_path / "run"), lambda record: None)
    assert len(expected) == STEPS and expected[-1] < expected[0]
    np.testing.assert_allclose(curve(tmp_path / "run"), expected, rtol=1e-4)
    metric = "log likelihood" if changes is CONTRAST else "ndcg@10"
    judged = (validations(tmp_path / place, metric) for place in ("run", "bare"))
    np.testing.assert_allclose(*judged, rtol=2e-3)
