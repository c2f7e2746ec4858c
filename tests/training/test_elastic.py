"""A run goes on with another number of workers: at every ZeRO stage its losses are those of a run never stopped."""

import multiprocessing
import os
import shutil
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from ray_userrep.corpus.store import open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.runs import read_records

STEPS = 24
ROWS = {
    "encoder.items": {"kind": "rows"},
    "objective": {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 64}},
}


def freeze(model, frozen):
    if frozen:
        model.encoder.items.requires_grad_(False)
    return model


def rank_main(rank, world, meeting, recipe, corpus_uri, run_uri, frozen, errors):
    """One rank of a fit, in a process of its own."""
    from ray_userrep.distributed import zero

    zero.quiet()
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    chosen = Recipe.model_validate_json(recipe)
    make = lambda model: zero.ZeroEngine(freeze(model, frozen), chosen.train, torch.device("cpu"))  # noqa: E731
    build = lambda: zero.partitioned_init(chosen.train)  # noqa: E731
    try:
        fit(chosen, open_corpus(corpus_uri), run_uri, make, lambda record: None, build)
    except UserError as error:
        errors.put((rank, str(error)))
    except BaseException:
        errors.put((rank, traceback.format_exc()))
        raise
    dist.destroy_process_group()


def fit_on_ranks(world, meeting, recipe, corpus_uri, run_uri, frozen=False):
    """Fits on so many processes of a preloaded server; returns the errors that ranks met."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ray_userrep.distributed.zero", "ray_userrep.training.fit"])
    errors = context.Queue()
    given = (world, str(meeting), recipe.model_dump_json(), corpus_uri, str(run_uri), frozen, errors)
    ranks = [context.Process(target=rank_main, args=(rank, *given)) for rank in range(world)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [errors.get() for _ in range(world)] if not errors.empty() else []


@pytest.fixture
def fit_on(corpus, tmp_path, monkeypatch):
    """Fits on so many processes; returns the errors that ranks met."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))

    def run(world, recipe, run_uri, frozen=False):
        meeting = tmp_path / f"meeting-{len(list(tmp_path.iterdir()))}"
        return fit_on_ranks(world, meeting, recipe, corpus.uri, run_uri, frozen)

    return run


def curve(run_uri):
    return [loss for r in read_records(str(run_uri)) if r["kind"] == "train" for loss in r["losses"]]


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
    pytest.param(1, {}, False, id="1"),
    pytest.param(2, {"train.zero.offload_optimizer": "cpu"}, False, id="2-offloaded"),
    pytest.param(3, {}, False, id="3"),
    pytest.param(3, {"train.zero.init": True}, False, id="3-built-partitioned"),
    pytest.param(0, {}, True, id="0-frozen"),
    pytest.param(2, {}, True, id="2-frozen"),
    pytest.param(3, {}, True, id="3-frozen"),
    pytest.param(0, ROWS, False, id="0-rows"),
    pytest.param(2, ROWS, False, id="2-rows"),
    pytest.param(3, ROWS, False, id="3-rows"),
]


@pytest.mark.parametrize(("stage", "more", "frozen"), CASES)
def test_two_workers_then_one_then_three(corpus, recipe, fit_on, tmp_path, stage, more, frozen):
    chosen = small(recipe, stage, **more)
    bare = lambda model: BareEngine(freeze(model, frozen), chosen.train, torch.device("cpu"))  # noqa: E731
    fit(chosen, corpus, str(tmp_path / "bare"), bare, lambda record: None)
    for world, crash in ((2, 10), (1, 16), (3, None)):
        assert fit_on(world, chosen, tmp_path / "run", frozen) == []
        if crash:
            crash_after(tmp_path / "run", crash)
    expected = curve(tmp_path / "bare")
    assert len(expected) == STEPS and expected[-1] < expected[0]
    np.testing.assert_allclose(curve(tmp_path / "run"), expected, rtol=1e-5)
