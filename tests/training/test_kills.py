"""Whatever is killed, wherever: what is trained on is the plan's, each window once an epoch, and so are the losses.

A run is hit several times, at random moments of a seeded sequence: a train worker, a whole node, the driver.
A preparation is hit in a process that reads or sorts, or in its driver.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.feed.plan import Position
from ray_userrep.feed.stream import make_plan
from tests.ranks import losses

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("kill_driver.py")
STEPS = 40
PATIENCE = 600.0
WORKING = ("ray::Map", "ray::_watched")  # how processes that read, and those that sort, are called


class Nodes:
    """Two nodes of one processor each, the second of which may be lost; drivers run beside the first."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self._node()

    def _node(self):
        """Another node; Ray gives it half a minute to start, which is short on a busy machine."""
        for _ in range(5):
            with suppress(Exception):
                return self.cluster.add_node(num_cpus=1)
        return self.cluster.add_node(num_cpus=1)

    def lose_second(self):
        self.cluster.remove_node(self.second, allow_graceful=False)

    def replace_second(self):
        self.second = self._node()

    def busy_processes(self):
        """Ray's processes that run a task now."""
        found = []
        for node in (self.cluster.head_node, self.second):
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            with suppress(psutil.NoSuchProcess):
                found += [p.pid for p in raylet.children(recursive=True) if _title(p.pid).startswith(WORKING)]
        return found


def _title(pid):
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def nodes(s3):
    nodes = Nodes()
    yield nodes
    nodes.cluster.shutdown()


class Driver:
    """A driver process; what it prints is kept."""

    def __init__(self, job, file):
        file.write_text(json.dumps(job))
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self):
        self.process.wait(PATIENCE)
        self._reader.join()
        assert self.process.returncode == 0, "\n".join(self.lines)
        return next(line for line in self.lines if line.startswith("done"))


def until(happened, driver):
    """Wait for something, as long as the driver lives."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert driver.process.poll() is None, "\n".join(driver.lines)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def entries(seen):
    """What ranks have noted, oldest first; a line cut off by a kill is none."""
    found = []
    for file in seen.iterdir():
        for line in file.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return sorted(found, key=lambda entry: entry["time"])


def trained(seen):
    """The windows of every batch, by the last worker group that trained on it."""
    newest = {}
    for entry in entries(seen):
        newest[tuple(entry["at"]), entry["rank"]] = entry
    batches = {}
    for at in {at for at, _ in newest}:
        group = [newest[at, rank] for rank in range(64) if (at, rank) in newest]
        world = max(group, key=lambda entry: entry["time"])["world"]
        ranks = [entry for entry in group if entry["rank"] < world]
        assert [entry["world"] for entry in ranks] == [world] * world
        batches[at] = Counter(tuple(window) for entry in ranks for window in entry["windows"])
    return batches


def planned(recipe, corpus):
    """The windows of every batch of the run, from the plan."""
    plan = make_plan(corpus, resolve(recipe.split, corpus), recipe.stream, 1, recipe.seed)
    hashes = [corpus.bucket(number).user_hash_U for number in corpus.buckets()]
    batches = {}
    for step in range(STEPS):
        position = Position(*divmod(step, plan.num_batches))
        windows = next(plan.batches(position)).windows
        rows = zip(windows.bucket_W, windows.row_W, windows.start_W, windows.length_W, strict=True)
        batches[tuple(position)] = Counter((int(hashes[b][u]), int(start), int(n) - 1) for b, u, start, n in rows)
    return batches, plan


def hit(kind, driver, nodes, seen, rng):
    """Kill at a random moment after another step has begun, or before any; returns the driver that goes on."""
    begun = len(entries(seen))
    if rng.random() < 0.75:
        more = rng.randrange(1, 14)  # of two ranks: all kills fall into the run
        until(lambda: len(entries(seen)) > begun + more, driver)
    else:
        time.sleep(rng.random() * 5)
    if kind == "worker":
        pids = [int(file.stem.split("-")[-1]) for file in seen.iterdir()]
        alive = [pid for pid in pids if "TrainWorker" in _title(pid)]
        if alive:
            os.kill(rng.choice(alive), signal.SIGKILL)
        return bool(alive)
    if kind == "node":
        nodes.lose_second()
        nodes.replace_second()
    else:
        driver.kill()
    return True


@pytest.fixture
def job(corpus, recipe, nodes, s3_uri, tmp_path):
    chosen = recipe(**{
        "train.max_steps": STEPS, "train.epochs": 9.0, "train.checkpoint_every": 0.25, "train.log_every": 1,
        "train.num_workers": 2, "train.cpus_per_worker": 1, "train.max_failures": 100, "stream.micro_tokens": 48,
    })  # fmt: skip

    def made(name, **changes):
        seen = tmp_path / f"seen-{name}"
        seen.mkdir()
        raw = chosen.model_dump(mode="json")
        raw["train"] |= changes
        return {
            "what": "train", "address": nodes.cluster.address, "corpus": corpus.uri, "run": f"{s3_uri}/{name}",
            "seen": str(seen), "recipe": raw,
        }, chosen  # fmt: skip

    return made


@pytest.fixture(scope="module")
def undisturbed():
    """Losses of runs that nothing happened to, by what they were."""
    return {}


def train(job, nodes, rng, kinds, file, workers=(2,)):
    """Drive a run to its end, hit once for each kind; a killed driver is started again, on the next number."""
    seen, starts = Path(job["seen"]), 0
    driver = Driver(job, file)
    for kind in kinds:
        while not hit(kind, driver, nodes, seen, rng):
            pass
        if kind == "driver":
            starts += 1
            job["recipe"]["train"]["num_workers"] = workers[starts % len(workers)]
            driver = Driver(job, file)
    driver.finish()


@pytest.mark.parametrize("seed", range(4))
def test_a_run_hit_by_kills_trains_on_the_plan_and_loses_nothing(job, nodes, corpus, undisturbed, tmp_path, seed):
    rng = random.Random(seed)
    if not undisturbed:
        whole, _ = job("whole")
        train(whole, nodes, rng, [], tmp_path / "whole.json")
        undisturbed["losses"] = losses(whole["run"])
    chosen_job, recipe = job("cut")
    kinds = ["worker", "node", "driver", rng.choice(["worker", "node", "driver"])]
    rng.shuffle(kinds)
    train(chosen_job, nodes, rng, kinds, tmp_path / "cut.json")
    batches, plan = planned(recipe, corpus)
    assert 2 * plan.num_batches < STEPS, "whole epochs were trained"
    assert trained(Path(chosen_job["seen"])) == batches
    assert losses(chosen_job["run"]) == undisturbed["losses"]


@pytest.mark.parametrize("seed", range(2))
def test_a_run_whose_driver_is_killed_goes_on_with_other_workers(job, nodes, corpus, tmp_path, seed):
    rng = random.Random(100 + seed)
    chosen_job, recipe = job("cut", zero={**recipe_zero(), "stage": 2 + seed})
    train(chosen_job, nodes, rng, ["driver", "driver"], tmp_path / "cut.json", workers=(2, 1))
    whole, _ = job("whole")
    train(whole, nodes, rng, [], tmp_path / "whole.json")
    assert trained(Path(chosen_job["seen"])) == planned(recipe, corpus)[0]
    np.testing.assert_allclose(losses(chosen_job["run"]), losses(whole["run"]), rtol=1e-5)


def recipe_zero():
    return {"offload_optimizer": "none", "offload_parameters": "none", "init": False}


def test_a_run_goes_on_with_fewer_workers_while_a_node_is_gone(job, nodes, corpus, tmp_path):
    chosen_job, recipe = job("cut", min_workers=1)
    seen = Path(chosen_job["seen"])
    driver = Driver(chosen_job, tmp_path / "cut.json")
    until(lambda: any(entry["world"] == 2 for entry in entries(seen)), driver)
    nodes.lose_second()
    until(lambda: entries(seen)[-1]["world"] == 1, driver)
    nodes.replace_second()
    driver.finish()
    assert trained(seen) == planned(recipe, corpus)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_preparation_hit_by_kills_makes_the_same_corpus(nodes, s3_uri, tmp_path, seed):
    rng = random.Random(seed)
    for file in range(8):
        rows = [
            f"u{u},i{(u * 7 + t) % 90},{1_600_000_000 + 60 * t}"
            for u in range(file, 1600, 8)
            for t in range(3 + u % 40)
        ]
        storage.write_text(f"{s3_uri}/log/{file}.csv", "\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    job = {"what": "prepare", "address": nodes.cluster.address, "logs": f"{s3_uri}/log"}
    expected = Driver({**job, "corpus": f"{s3_uri}/whole"}, tmp_path / "whole.json").finish()
    cut = {**job, "corpus": f"{s3_uri}/cut"}
    driver = Driver(cut, tmp_path / "cut.json")
    for _ in range(2):
        until(nodes.busy_processes, driver)
        time.sleep(rng.random() * 0.5)
        busy = nodes.busy_processes()
        with suppress(ProcessLookupError, IndexError):
            os.kill(rng.choice(busy), signal.SIGKILL)
    if rng.random() < 0.7:
        time.sleep(rng.random() * 0.5)
        driver.kill()
        driver = Driver(cut, tmp_path / "cut.json")
    assert driver.finish() == expected
