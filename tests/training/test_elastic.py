"""A run goes on with another number of workers: at every ZeRO stage its losses are those of a run never stopped."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.ranks import fit_bare, fit_on_ranks, losses

STEPS = 24
ROWS = {
    "encoder.items": {"kind": "rows"},
    "objective": {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 64}},
}


def crash_after(run_uri, step):
    """Leave what a crash soon after a checkpoint leaves."""
    later = [p for p in (Path(run_uri) / "checkpoints").iterdir() if int(p.name.split("-")[1]) > step]
    assert later
    for folder in later:
        shutil.rmtree(folder)


def small(recipe, stage, **more):
    return recipe(**{
        "train.max_steps": STEPS, "train.epochs": 9.0, "train.checkpoint_every": 0.25, "train.keep_checkpoints": 99,
        "stream.micro_tokens": 48, "train.zero.stage": stage, **more,
    })  # fmt: skip


CASES = [
    pytest.param(0, {}, False, id="0"),
    pytest.param(1, {}, False, id="1", marks=pytest.mark.slow),
    pytest.param(2, {"train.zero.offload_optimizer": "cpu"}, False, id="2-offloaded"),
    pytest.param(3, {}, False, id="3"),
    pytest.param(3, {"train.zero.init": True}, False, id="3-built-partitioned"),
    pytest.param(0, {}, True, id="0-frozen"),
    pytest.param(2, {}, True, id="2-frozen", marks=pytest.mark.slow),
    pytest.param(3, {}, True, id="3-frozen", marks=pytest.mark.slow),
    pytest.param(0, ROWS, False, id="0-rows", marks=pytest.mark.slow),
    pytest.param(2, ROWS, False, id="2-rows", marks=pytest.mark.slow),
    pytest.param(3, ROWS, False, id="3-rows"),
]


@pytest.mark.parametrize(("stage", "more", "frozen"), CASES)
def test_two_workers_then_one_then_three(corpus, recipe, tmp_path, stage, more, frozen):
    chosen = small(recipe, stage, **more)
    fit_bare(chosen, corpus, tmp_path / "bare", frozen)
    for world, crash in ((2, 10), (1, 16), (3, None)):
        assert fit_on_ranks(world, chosen, corpus, tmp_path / "run", frozen) == []
        if crash:
            crash_after(tmp_path / "run", crash)
    expected = losses(tmp_path / "bare")
    assert len(expected) == STEPS and expected[-1] < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "run"), expected, rtol=1e-5)
