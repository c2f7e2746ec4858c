"""Ratings as an objective in the common loop: on any number of ranks, at any stage, cut short and gone on with."""

from pathlib import Path

import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import CrossDomainTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import Goal, train
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.fit import FitSpec, build_transfer, fitted_recipe
from ray_userrep.transfer.tasks.cross_domain import read_cross_domain
from tests.ranks import losses, on_ranks
from tests.transfer.conftest import MAX_LEN, taste, two_logs

STEPS = 8


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return two_logs(tmp_path_factory.mktemp("ratings"), taste)


def trained(recipe_json, source_uri, target_uri, run_uri, name, make_engine):
    """Train a bridge for the steps of the recipe; nothing is measured, so that ranks do the same at any stage."""
    recipe, source, target = Recipe.model_validate_json(recipe_json), open_corpus(source_uri), open_corpus(target_uri)
    config = EncoderConfig.model_validate({"width": 16, "backbone": {"kind": "mean"}})
    torch.manual_seed(0)
    encoder = build_encoder(config, source.items(), MAX_LEN).eval()
    task = read_cross_domain(source, target, resolve(LeaveOneOutConfig(), source), CrossDomainTaskConfig(width=4), ())
    arm = build_arm(name, TransferConfig(bridge_hidden=8))
    fitted = fitted_recipe(recipe, encoder, task, FitSpec(1.0, 0, 0.03))
    own = {"max_steps": recipe.train.max_steps, "checkpoint_every": 0.5, "keep_checkpoints": 9}
    fitted = fitted.model_copy(update={"train": fitted.train.model_copy(update=own)})
    model, _ = build_transfer(fitted, encoder, task, arm, 1.0)
    goal = Goal(task.cut(1.0), task.data(1.0), "nothing", lambda: {"nothing": 0.0}, lambda: None)
    train(fitted, source, run_uri, make_engine(model, fitted), goal, lambda record: None)


def bare(model, fitted):
    return BareEngine(model, fitted.train, torch.device("cpu"))


def of_rank(recipe_json: str, source_uri: str, target_uri: str, run_uri: str, name: str) -> None:
    """A rank's part, by DeepSpeed."""
    from ray_userrep.distributed import zero

    zero.quiet()

    def engine(model, fitted):
        return zero.ZeroEngine(model, fitted.train, torch.device("cpu"))

    trained(recipe_json, source_uri, target_uri, run_uri, name, engine)


def asked(recipe, stage=0, steps=STEPS):
    raw = recipe.model_dump()
    schedule = {"kind": "constant", "warmup_share": 0.0}  # the same whatever number of steps is planned
    raw["train"] |= {"zero": {"stage": stage}, "max_steps": steps, "log_every": 1, "schedule": schedule}
    raw["transfer"] |= {"batch_tokens": 300, "epochs": 6.0}
    return Recipe.model_validate(raw).model_dump_json()


@pytest.mark.parametrize(("stage", "name"), [(0, "ptupcdr"), (3, "personal_bridge")])
def test_two_ranks_learn_what_one_does(logs, recipe, tmp_path, stage, name):
    uris = [log.uri for log in logs]
    trained(asked(recipe), *uris, f"{tmp_path}/bare", name, bare)
    given = asked(recipe, stage), *uris, f"{tmp_path}/ranks", name
    assert not on_ranks(2, of_rank, Path(tmp_path) / "meeting", *given)
    alone = losses(f"{tmp_path}/bare")
    assert len(alone) == STEPS and alone[-1] < alone[0]
    assert losses(f"{tmp_path}/ranks") == pytest.approx(alone, rel=1e-4)


def test_a_fit_that_was_cut_short_inside_an_epoch_goes_on_as_if_it_had_not_been(logs, recipe, tmp_path):
    uris = [log.uri for log in logs]
    for name in ("emcdr", "ptupcdr"):
        trained(asked(recipe), *uris, f"{tmp_path}/{name}-whole", name, bare)
        for steps in (3, STEPS):
            trained(asked(recipe, steps=steps), *uris, f"{tmp_path}/{name}-cut", name, bare)
        whole, cut = (losses(f"{tmp_path}/{name}-{kind}") for kind in ("whole", "cut"))
        assert cut == whole and len(whole) == STEPS
