"""The pretraining job as a process that is killed, started again, and given bad input."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ray_userrep import storage

ROOT = Path(__file__).parents[2]
TRAINING = [
    "--stream.max_len", "8", "--stream.batch_tokens", "128", "--encoder.width", "16", "--corpus.num_buckets", "2",
    "--train.epochs", "20", "--train.log_every", "1", "--train.checkpoint_every", "3.3",
    "--train.eval_every", "5", "--train.cpus_per_worker", "1",
    "--evaluation.num_bootstrap", "100",
]  # fmt: skip


def command(place: Path, run: str) -> list[str]:
    places = ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/{run}"]
    return [sys.executable, str(ROOT / "jobs" / "pretrain.py"), *places, *TRAINING]


def losses(run: Path) -> dict[int, float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {r["step"]: r["loss"] for r in records if r["kind"] == "train"}


@pytest.fixture
def alone(monkeypatch):
    """Jobs of their own, not part of the session's Ray."""
    monkeypatch.setenv("RAY_ADDRESS", "local")


def write_log(place: Path) -> None:
    rows = [
        f"u{u},i{(u * 7 + t * (1 + u % 3)) % 30},{1_600_000_000 + t * 60}" for u in range(90) for t in range(3 + u % 15)
    ]
    storage.write_text(f"{place}/log/interactions.csv", "\n".join(["user_id,item_id,timestamp", *rows]) + "\n")


@pytest.mark.system
def test_killed_in_the_middle_and_started_again_it_trains_the_same(alone, tmp_path):
    write_log(tmp_path)
    subprocess.run(command(tmp_path, "whole"), check=True)

    process = subprocess.Popen(command(tmp_path, "cut"), stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    steps = (line for line in process.stdout if line.startswith("step") and "loss" in line)
    for line in steps:
        if int(line.split()[1].split("/")[0]) > 30:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    published = list((tmp_path / "cut" / "checkpoints").glob("*/manifest.json"))
    assert published and not (tmp_path / "cut" / "result.json").exists()

    again = subprocess.run(command(tmp_path, "cut"), check=True, stdout=subprocess.PIPE, text=True)
    assert "(resumed)" in again.stdout
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_bad_input_is_one_line_and_a_failed_exit(alone, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "pretrain.py"), "--train.num_wokers", "2", "--run", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: unknown field train.num_wokers: did you mean train.num_workers?"
    assert not (tmp_path / "run").exists()


def test_help_lists_every_field(alone):
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "pretrain.py"), "--help-all"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "--train.zero.stage" in done.stdout and "--objective.softmax.num_negatives" in done.stdout
