"""GPUs: asked of Ray by what uses them, and hidden from what asked for none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.prepare.devices import device_of_task, gpus_asked, with_gpu
from ray_userrep.workflows.prepare import open_or_prepare
from tests.workflows.conftest import small_recipe, write_small_log

JOBS = Path(__file__).with_name("gpu_jobs.py")
WORK = {"_with_device", "_fit", "scaling point", "_Embedder"}  # evaluate and transfer, transfer, scale, embed


def test_without_gpus_none_is_asked_for_unless_one_is_wanted_and_all_are_hidden(ray_session):
    assert [gpus_asked(use_gpu) for use_gpu in (None, False, True)] == [0, 0, 1]
    assert with_gpu(None, lambda name, device: (name, device, os.getpid()), "here") == ("here", "cpu", os.getpid())
    told = ray.remote(lambda: (device_of_task(0), os.environ["CUDA_VISIBLE_DEVICES"]))
    assert ray.get(told.remote()) == ("cpu", "")


@pytest.mark.system
@pytest.mark.parametrize("use_gpu", ["null", "false"])
def test_jobs_ask_for_the_gpus_that_there_are_unless_told_not_to(ray_session, tmp_path, use_gpu):
    write_small_log(f"{tmp_path}/log")
    recipe = small_recipe(str(tmp_path))
    build_encoder(recipe.encoder, open_or_prepare(recipe).items(), 8).eval().save_pretrained(tmp_path / "encoder")
    command = [sys.executable, str(JOBS), str(tmp_path), use_gpu]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert done.returncode == 0, done.stderr[-3000:]
    asked = json.loads(done.stdout.splitlines()[-1])
    with_some = {name for name, gpus in asked.items() if gpus}
    if use_gpu == "false":
        assert not with_some and {"_fit", "scaling point"} <= asked.keys()
    else:
        assert all(any(name in one for one in with_some) for name in WORK), asked
        assert all(any(name in one for name in WORK) for one in with_some), asked
