"""Masked bundles in whole runs: on one worker and two, at both ends of ZeRO, and cut in the middle of an epoch."""

import shutil

import numpy as np
import pytest

from tests.ranks import fit_bare, fit_on_ranks, losses

BUNDLES = {
    "encoder.bundle": "hour",
    "encoder.singles": 2,
    "encoder.context": ("hour",),
    "encoder.readout": "mean",
    "encoder.backbone.causal": False,
    "objective": {"kind": "masked_bundles", "columns": ["item_id"], "fields": ["hour"]},
    "stream.max_len": 16,
    "stream.micro_tokens": 64,
    "train.max_steps": 8,
}


@pytest.mark.parametrize("stage", [0, 3])
def test_losses_are_the_same_on_one_worker_and_on_two(corpus, recipe, tmp_path, stage):
    chosen = recipe(**BUNDLES, **{"train.zero.stage": stage})
    fit_bare(chosen, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, chosen, corpus, tmp_path / "two") == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == 8 and np.mean(expected[-3:]) < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-4)


def test_a_run_that_was_cut_goes_on_as_if_nothing_happened(corpus, recipe, tmp_path):
    chosen = recipe(**BUNDLES, **{"train.checkpoint_every": 0.2, "train.keep_checkpoints": 9})
    fit_bare(chosen, corpus, tmp_path / "run")
    whole = losses(tmp_path / "run")
    for place in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(place)
    fit_bare(chosen, corpus, tmp_path / "run")
    assert losses(tmp_path / "run") == whole
