"""The local cluster that scales by itself: what Ray is told, what is ended. A slow test of the sweep runs it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler

SCRIPT = Path(__file__).parents[2] / "cluster" / "autoscaling.py"
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@pytest.fixture(scope="module")
def autoscaling():
    spec = importlib.util.spec_from_file_location("autoscaling", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ray_is_told_of_nodes_that_come_and_go(autoscaling):
    config = autoscaling._config("10.0.0.1:1234", nodes=3, cpus=2, idle_seconds=30)
    jsonschema.validate(config, SCHEMA)
    assert config["max_workers"] == 3 and config["idle_timeout_minutes"] == 0.5
    worker = config["available_node_types"]["worker"]
    assert worker["resources"]["CPU"] == 2 and worker["min_workers"] == 0 and worker["max_workers"] == 3
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_only_processes_of_the_folder_are_ended(autoscaling, tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    by_command, other = (subprocess.Popen([*sleep, f"{tmp_path}/{name}/ray/session"]) for name in ("mine", "other"))
    by_place = subprocess.Popen(sleep, env=os.environ | {"RAY_TMPDIR": f"{tmp_path}/mine"})
    try:
        autoscaling.stop(tmp_path / "mine")
        by_command.wait(10)
        by_place.wait(10)
        assert other.poll() is None
    finally:
        for process in (by_command, by_place, other):
            process.kill()
            process.wait()


def test_a_secret_is_for_its_owner_alone(autoscaling, tmp_path):
    autoscaling._write_secret(tmp_path / "token", "first")
    autoscaling._write_secret(tmp_path / "token", "second")
    assert (tmp_path / "token").read_text() == "second"
    assert os.stat(tmp_path / "token").st_mode & 0o777 == 0o600


@pytest.mark.system
def test_one_node_takes_a_job_as_soon_as_it_is_started_and_is_ended_alone(monkeypatch):
    """Through `make`, beside a cluster that is there already: the ports do not meet."""
    short = [tempfile.mkdtemp(prefix="ur", dir="/tmp") for _ in range(2)]
    environment = Path(sys.executable).parents[1]
    make = ["make", "--silent", f"--assume-old={environment}/.ready", f"VENV={environment}"]
    run = partial(subprocess.run, cwd=SCRIPT.parents[1], capture_output=True, text=True, timeout=240)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        for folder in short:
            assert run([*make, "cluster", f"CLUSTER={folder}"]).returncode == 0
        job = run([*make, "submit", f"CLUSTER={short[0]}", "JOB=python -c 'print(6 * 7)'"])
        assert job.returncode == 0 and "42" in job.stdout
        run([*make, "stop", f"CLUSTER={short[0]}", f"SCALED={short[0]}"], check=True)
        refused = run([*make, "submit", f"CLUSTER={short[0]}"])
        assert refused.returncode != 0 and "make cluster starts one" in refused.stderr
        status = run(["sh", "-c", f". {short[1]}/env && {Path(sys.executable).with_name('ray')} status"])
        assert status.returncode == 0
    finally:
        for folder in short:
            run([sys.executable, str(SCRIPT), "stop", folder])
            shutil.rmtree(folder)


def test_a_folder_with_a_long_path_is_refused(tmp_path):
    folder = str(tmp_path / ("long" * 10))
    done = subprocess.run([sys.executable, str(SCRIPT), "start", folder], capture_output=True, text=True)
    assert done.returncode == 1 and "too long for Ray's sockets" in done.stderr and not Path(folder).exists()
