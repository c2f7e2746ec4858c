"""Fits in Ray tasks: what comes is what this process would have fitted, in order, also where a worker is killed."""

import os
import signal
import subprocess
import time
from functools import partial
from itertools import product

import pytest
import torch

from ray_userrep import storage
from ray_userrep.distributed.side_by_side import Setting, bare_engine, fitted
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.transfer.arms.plain import Full, Scratch
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.build import read_tasks
from ray_userrep.workflows.prepare import open_or_prepare

ARMS = (Full(), Scratch())
ASKED = [(arm, FitSpec(1.0, seed, 0.01, "last")) for arm, seed in product(ARMS, (0, 1))]


@pytest.fixture
def setting(ray_session, write_log, small, tmp_path):
    """Two untrained encoders of a small log, and who its users are."""
    write_log(f"{tmp_path}/log")
    recipe = small(str(tmp_path), "--transfer.epochs", "4", "--transfer.batch_tokens", "128")
    corpus = open_or_prepare(recipe)
    encoders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoders.append(build_encoder(recipe.encoder, corpus.items(), recipe.stream.max_len).eval())
    (task,) = read_tasks(recipe.transfer, corpus, recipe.split, recipe.objective, recipe.evaluation, "last", ())
    return Setting(recipe, corpus, encoders, task, f"{tmp_path}/run")


on_cpu = partial(bare_engine, device="cpu")


def same(one, other):
    return (one.predicted_U == other.predicted_U).all() and one[:3] == other[:3] and one[4:8] == other[4:8]


def test_outcomes_are_those_of_this_process_in_the_order_asked(setting, tmp_path):
    with fitted(setting, ASKED) as coming:
        found = list(coming)
    recipe, corpus, encoders, task, _ = setting
    for number, ((arm, fit), outcome) in enumerate(zip(ASKED, found, strict=True)):
        encoder = encoders[fit.seed]
        here = fit_task(recipe, corpus, encoder, task, arm, fit, f"{tmp_path}/here-{number}", on_cpu)
        assert same(outcome, here)


def test_a_fit_whose_worker_is_killed_is_fitted_again(setting, tmp_path):
    with fitted(setting._replace(run_uri=f"{tmp_path}/whole"), ASKED) as coming:
        whole = list(coming)
    with fitted(setting, ASKED) as coming:
        workers = busy_workers()
        os.kill(workers[0], signal.SIGKILL)
        found = list(coming)
    assert all(map(same, found, whole))


def busy_workers():
    """The processes of this session's Ray that fit just now."""
    for _ in range(600):
        raylets = listed("-P", str(os.getpid()), "raylet")
        if found := [int(pid) for raylet in raylets for pid in listed("-P", raylet, "-f", "^ray::_fit")]:
            return found
        time.sleep(0.05)
    raise AssertionError("no worker has begun to fit")


def listed(*query):
    return subprocess.run(["pgrep", *query], capture_output=True, text=True).stdout.split()


def test_a_fit_that_diverges_ends_all_with_one_line(setting):
    asked = [(Full(), FitSpec(1.0, seed, 1e30, "last")) for seed in range(6)]
    with pytest.raises(UserError, match=r"the loss was .* at step") as caught, fitted(setting, asked) as coming:
        list(coming)
    assert "\n" not in str(caught.value)
    assert not storage.list_files(f"{setting.run_uri}/fits", "outcome.json")
