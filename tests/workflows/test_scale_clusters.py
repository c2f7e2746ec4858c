"""A real study, small, on clusters that change: one that grows and shrinks by itself, one that loses a node."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.scaling.study.point import run_point

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
AUTOSCALING = [sys.executable, str(ROOT / "cluster" / "autoscaling.py")]
STUDY = [
    "--scale.item_width", "8", "--stream.max_len", "8", "--encoder.width", "16", "--corpus.num_buckets", "3",
    "--train.log_every", "2", "--evaluation.num_bootstrap", "100",
]  # fmt: skip
HELD_OUT = [
    "--scale.sizes", "[800, 2000]", "--scale.data", "[300, 1100]", "--scale.seeds", "[0]", "--scale.hold_out", "1",
]  # fmt: skip
SEEDS = [
    "--scale.sizes",
    "[800]",
    "--scale.data",
    "[1100]",
    "--scale.seeds",
    "[0, 1, 2, 3, 4]",
    "--scale.hold_out",
    "0",
]
SAME = ("outcome", "N", "D", "C", "flops", "epochs")
PATIENCE = 280.0
COUNT_NODES = (
    "import ray; ray.init(logging_level='ERROR'); "
    "print(sum(node['Alive'] and node['Resources'].get('CPU', 0) > 0 for node in ray.nodes()))"
)


def study(place: str, run: str, points: list[str]) -> list[str]:
    places = ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/{run}"]
    return ["jobs/scale.py", *places, *STUDY, *points]


def until(happened, still_going=lambda: True, pause: float = 0.2):
    """Wait for something, as long as there is a reason to."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert still_going() and time.monotonic() < deadline
        time.sleep(pause)
    return found


@pytest.fixture
def autoscaling(s3):
    """The variables of a cluster of no nodes that may have two."""
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        done = subprocess.run([*AUTOSCALING, "start", folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        words = (shlex.split(line)[1] for line in done.stdout.splitlines())
        yield os.environ | dict(word.split("=", 1) for word in words)
    finally:
        subprocess.run([*AUTOSCALING, "stop", folder], check=True)
        left = [one.pid for one in psutil.process_iter(["environ"]) if folder in (one.info["environ"] or {}).values()]
        shutil.rmtree(folder)
    assert left == []


def num_nodes(env: dict[str, str]) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT_NODES], env=env, capture_output=True, text=True, check=True)
    (told,) = (line for line in done.stdout.splitlines() if line.isdigit())  # the autoscaler prints beside it
    return int(told)


def test_a_submitted_study_has_nodes_as_long_as_it_has_work(autoscaling, s3_uri, write_log):
    write_log(f"{s3_uri}/log")
    assert num_nodes(autoscaling) == 0
    ray = str(Path(sys.executable).with_name("ray"))
    submit = [ray, "job", "submit", "--working-dir", ".", "--", "python", *study(s3_uri, "run", HELD_OUT)]
    done = subprocess.run(submit, cwd=ROOT, env=autoscaling, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: num_nodes(autoscaling) == 0, pause=1.0)

    told = storage.read_json(f"{s3_uri}/run/result.json")
    rows = {row["name"]: row["held_out"] for row in told["rows"]}
    names = [f"grid-n{size}-d{data}-s0" for size in (800, 2000) for data in (300, 1100)]
    assert rows == {name: name == names[-1] for name in names}
    assert {row["outcome"] for row in told["rows"]} == {"trained"}
    used = told["utilisation"]
    assert used[0]["nodes"] == 0 and max(one["nodes"] for one in used) == 2
    assert max(one["cores_used"] for one in used) == 2 and all(one["cores_used"] <= one["cores"] <= 2 for one in used)
    figure = storage.read_json(f"{s3_uri}/run/figures/utilisation.json")
    assert figure["nodes"] == [one["nodes"] for one in used] and figure["minutes"][-1] > 0
    assert "The cluster" in storage.read_text(f"{s3_uri}/run/report.html")


@pytest.fixture
def two_nodes(s3):
    """A cluster of two nodes with one core each, the second of which may be lost."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster, cluster.add_node(num_cpus=1)
    cluster.shutdown()


def files(place: str) -> dict[str, bytes]:
    """The results of finished runs; a result says when its run began and how long it took."""
    if not storage.exists(f"{place}/points"):
        return {}
    found = [entry.uri for entry in storage.list_files(f"{place}/points", "result.json")]
    return {uri: storage.read_bytes(uri) for uri in found}


def at_work(node) -> list[int]:
    """Processes of a node that train a point now."""
    children = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
    found = []
    for process in children:
        with suppress(psutil.Error):
            found += [process.pid] if process.cmdline()[:1] == ["ray::scaling point"] else []
    return found


def test_a_study_that_loses_a_node_trains_what_each_run_is_alone(two_nodes, s3_uri, write_log, tmp_path):
    cluster, second = two_nodes
    env, cut = os.environ | {"RAY_ADDRESS": cluster.address}, f"{s3_uri}/cut"
    write_log(f"{s3_uri}/log")
    with (tmp_path / "cut.log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, *study(s3_uri, "cut", SEEDS)], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        until(lambda: files(cut), lambda: driver.poll() is None)
        before = files(cut)
        until(lambda: at_work(second), lambda: driver.poll() is None, pause=0.02)
        cluster.remove_node(second, allow_graceful=False)
        driver.wait(PATIENCE)
    finally:
        driver.kill()
    assert driver.returncode == 0, (tmp_path / "cut.log").read_text()
    after = files(cut)
    assert 0 < len(before) < len(after) == 5
    assert {name: after[name] for name in before} == before

    for row in storage.read_json(f"{cut}/result.json")["rows"]:
        recipe = Recipe.model_validate(storage.read_json(f"{cut}/points/{row['name']}/recipe.json"))
        alone = run_point(recipe, open_corpus(f"{s3_uri}/corpus"), f"{tmp_path}/{row['name']}", {}, lambda _: None)
        assert row["loss"] == pytest.approx(alone["loss"]["mean"], rel=1e-4)
        assert row["ndcg@10"] == pytest.approx(alone["metrics"]["ndcg@10"]["mean"], rel=1e-3)
        assert [row[name] for name in SAME] == [alone[name] for name in SAME]
    used = storage.read_json(f"{cut}/result.json")["utilisation"]
    assert max(one["nodes"] for one in used) == 2
