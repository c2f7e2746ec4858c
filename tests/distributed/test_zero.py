"""DeepSpeed on real workers against the bare loop: the same global batches give the same losses."""

import shutil
from datetime import datetime

import numpy as np
import pytest
import torch

from ray_userrep.distributed.workers import fit_distributed
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.recipe.encoder import TEMPO_WIDTH
from ray_userrep.training.runs import read_records
from tests.ranks import fit_bare, fit_on_ranks, losses

STEPS = 30
COUNTED = {"kind": "sampled", "sampler": "counts", "num_negatives": 16}  # each rank counts a share


def validations(run_uri, metric):
    return [r[metric] for r in read_records(str(run_uri)) if r["kind"] == "validation"]


def thirty_steps(recipe, **changes):
    return recipe(**{"train.max_steps": STEPS, "train.epochs": 9.0, "stream.micro_tokens": 48, **changes})


def same_as_bare(run, bare):
    """The curve of every step and the exported weights."""
    assert len(losses(bare)) == STEPS
    np.testing.assert_allclose(losses(run), losses(bare), rtol=1e-5)
    ours, theirs = (UserEncoder.from_pretrained(f"{place}/encoder") for place in (run, bare))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("num_ranks", "stage", "more"),
    [
        (1, 0, {}),
        (2, 0, {}),
        (2, 1, {"train.item_learning_rate": 0.02}),
        (2, 2, {"train.zero.offload_optimizer": "cpu"}),
        (2, 3, {"train.item_learning_rate": 0.02}),
        (2, 3, {"train.zero.init": True, "objective.softmax": COUNTED}),
    ],
)
def test_every_stage_trains_as_the_bare_loop_does(corpus, recipe, tmp_path, num_ranks, stage, more):
    chosen = thirty_steps(recipe, **{"train.zero.stage": stage, **more})
    fit_bare(chosen, corpus, tmp_path / "bare")
    assert fit_on_ranks(num_ranks, chosen, corpus, tmp_path / "run") == []
    same_as_bare(tmp_path / "run", tmp_path / "bare")


BAG = {"encoder.bag_width": 12, "encoder.bag_kept": 5, "encoder.tempo": True, "encoder.readout": "bag", "objective": {
    "kind": "weighted", "parts": [
        {"weight": 1.0, "objective": {"kind": "autoregressive"}}, {"weight": 1.0, "objective": {"kind": "history"}},
    ],
}}  # fmt: skip


@pytest.mark.parametrize(("stage", "init"), [(0, False), (2, False), (3, True)])
def test_a_bag_learns_as_in_the_bare_loop(corpus, recipe, tmp_path, stage, init):
    chosen = thirty_steps(recipe, **BAG, **{"train.zero.stage": stage, "train.zero.init": init})
    fit_bare(chosen, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, chosen, corpus, tmp_path / "run") == []
    same_as_bare(tmp_path / "run", tmp_path / "bare")
    day = datetime(2024, 1, 1)
    encoder = UserEncoder.from_pretrained(f"{tmp_path}/run/encoder")
    vectors = encoder.encode([["item-1", "item-2"], ["item-7"]], [[day, day], [day]], day)
    assert vectors.shape == (2, 5 + TEMPO_WIDTH) and np.isfinite(vectors).all()


@pytest.mark.parametrize("changes", [{"encoder.readout": "whole"}, BAG])
def test_ranks_judge_a_vector_as_the_bare_loop_does(corpus, recipe, tmp_path, changes):
    chosen = recipe(**{"train.select": "vector", "train.zero.stage": 3, "train.max_steps": 6, **changes})
    fit_bare(chosen, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, chosen, corpus, tmp_path / "run") == []
    judged = (validations(tmp_path / place, "future r2") for place in ("run", "bare"))
    np.testing.assert_allclose(*judged, atol=1e-3)


@pytest.mark.system
def test_ray_s_workers_train_as_the_bare_loop_does(ray_session, corpus, recipe, tmp_path):
    chosen = thirty_steps(recipe, **{
        "train.num_workers": 2, "train.cpus_per_worker": 1, "train.zero.stage": 3, "train.zero.init": True,
    })  # fmt: skip
    fit_bare(chosen, corpus, tmp_path / "bare")
    fit_distributed(chosen, corpus, str(tmp_path / "run"), lambda record: None)
    same_as_bare(tmp_path / "run", tmp_path / "bare")


def test_partitioned_ranks_go_on_as_if_nothing_happened(corpus, recipe, tmp_path):
    chosen = recipe(**{"train.zero.stage": 3, "train.checkpoint_every": 0.4})
    assert fit_on_ranks(2, chosen, corpus, tmp_path / "run") == []
    whole = losses(tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    shutil.rmtree(newest)  # what a crash before the last checkpoint leaves
    assert fit_on_ranks(2, chosen, corpus, tmp_path / "run") == []
    assert losses(tmp_path / "run") == whole


CONTRAST = {"objective": {"kind": "contrastive", "views": "subsequences"}}
IN_BATCH = {
    "objective": {"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1}},
    "encoder.unit_items": True,
}
TOWERS = IN_BATCH | {
    "encoder.items": {"kind": "features", "columns": ["item_id"], "numbers": ["count"], "num_rows": 64},
    "objective": {"kind": "weighted", "parts": [
        {"weight": 1.0, "objective": IN_BATCH["objective"]}, {"weight": 0.5, "objective": {"kind": "item_contrast"}},
    ]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "changes", "micro_tokens"),
    [(0, CONTRAST, 999), (0, IN_BATCH, 20), (2, CONTRAST, 20), (3, IN_BATCH, 40), (3, TOWERS, 40)],
)
def test_negatives_of_both_workers_are_the_joint_batch_s(corpus, recipe, tmp_path, stage, changes, micro_tokens):
    """In-batch negatives are gathered with gradients: two workers learn what one learns from the whole batch."""
    fields = {"train.max_steps": STEPS, "train.epochs": 30.0, "train.zero.stage": stage, **changes}
    fit_bare(recipe(**fields), corpus, tmp_path / "bare")
    cut = recipe(**fields, **{"stream.micro_tokens": micro_tokens})
    assert fit_on_ranks(2, cut, corpus, tmp_path / "run") == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == STEPS and expected[-1] < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "run"), expected, rtol=1e-4)
    metric = "log likelihood" if changes is CONTRAST else "ndcg@10"
    judged = (validations(tmp_path / place, metric) for place in ("run", "bare"))
    np.testing.assert_allclose(*judged, rtol=2e-3)
