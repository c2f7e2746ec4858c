"""The log, the corpus and the undisturbed run that broken ones are compared with, line by line.

Jobs join one Ray that stays, as on a cluster; those whose Ray is broken start one of their own. A step's loss tells its
batch: where each step has the loss of the undisturbed run, bit for bit, no data were repeated and none left out.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from breaking.jobs import Job, named
from ray.cluster_utils import Cluster

from ray_userrep.training.runs import read_records

STEPS = 400
LOCAL = "local"  # an address: a Ray of the job's own
_CLOCKS = ("seconds", "seconds_left", "interactions_per_second", "data_wait")  # of a record: how long it took
_TRAINING = [
    "--stream.max_len", "8", "--stream.batch_tokens", "128", "--encoder.width", "16", "--corpus.num_buckets", "2",
    "--train.max_steps", str(STEPS), "--train.epochs", "200", "--train.log_every", "1",
    "--train.checkpoint_every", "3", "--train.eval_every", "10", "--train.cpus_per_worker", "1",
    "--train.use_gpu", "false", "--evaluation.num_bootstrap", "100", "--evaluation.baselines", "false",
]  # fmt: skip

Row = dict[str, Any]


class Progress:
    """How often a run's records fell back to an earlier step, and by how many steps, while somebody trains in it.

    Looked at a hundred times a second: what is printed lags behind what is trained.
    """

    def __init__(self, run: Path) -> None:
        self._file, self._over = run / "metrics.jsonl", threading.Event()
        self._again = 0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        newest = 0
        while not self._over.wait(0.01):
            step = self._newest()
            if step is not None:
                self._again += max(0, newest - step)
                newest = step

    def _newest(self) -> int | None:
        """The step of the newest whole line of a training step, where there is one."""
        with suppress(OSError):
            lines = self._file.read_bytes()[-4096:].split(b"\n")[1:-1]
            steps = [record["step"] for record in map(json.loads, lines) if record["kind"] == "train"]
            return steps[-1] if steps else None
        return None

    def steps_again(self) -> int:
        """Steps that were done a second time, up to now; nobody looks any more."""
        self._over.set()
        self._watcher.join()
        return self._again


class Lab:
    """A folder with the log, its corpus, and runs; what is there already is not made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.corpus = folder / "log", folder / "corpus"
        self.cluster = _started()
        self._progress: dict[Path, Progress] = {}
        write_log(self.log, 0)
        if not (self.corpus / "result.json").exists():
            self.must(self.prepare(self.corpus))
        if not (folder / "whole" / "result.json").exists():
            shutil.rmtree(folder / "whole", ignore_errors=True)
            self.must(self.pretrain(folder / "whole"))
        self.whole = records(folder / "whole")

    def close(self) -> None:
        """End the Ray that was started here."""
        self.cluster.shutdown()

    def prepare(self, corpus: Path, *more: str, address: str | None = None) -> Job:
        """A job that prepares the log."""
        words = ["--logs", str(self.log), "--corpus", str(corpus), "--corpus.num_buckets", "2", *more]
        return Job("prepare", words, address or self.cluster.address)

    def pretrain(self, run: Path, *more: str, address: str | None = None, corpus: Path | None = None) -> Job:
        """A job that trains in a run folder."""
        if run not in self._progress:
            self._progress[run] = Progress(run)
        words = dict(zip((given := [*_TRAINING, *more])[::2], given[1::2], strict=True))
        options = [word for option in words.items() for word in option]
        places = ["--corpus", str(corpus or self.corpus), "--run", str(run)]
        # A job that lost its Ray's head tries to reach it for a minute by default.
        return Job("pretrain", [*places, *options], address or self.cluster.address, _PATIENT)

    def train_worker(self, job: Job) -> psutil.Process:
        """The process that trains for a job, the newest one."""
        raylet = psutil.Process(self.cluster.head_node.all_processes["raylet"][0].process.pid)
        found = named([*raylet.children(recursive=True), *job.children("ray::")], "TrainWorker")
        assert found, "\n".join(["nothing trains", *job.lines[-30:]])
        return max(found, key=lambda process: process.create_time())

    def again(self, run: Path, first: Job, cure: Callable[[], object] = lambda: None, **given: Any) -> list[Job]:
        """The jobs that it took: the first and, where that did not end well, another after the cure."""
        if first.finish() == 0:
            return [first]
        cure()
        second = self.pretrain(run, **given)
        if second.finish():
            print("\n".join(second.lines[-30:]), flush=True)
        return [first, second]

    def row(self, run: Path, jobs: list[Job]) -> Row:
        """What became of a run that was broken, beside the undisturbed one."""
        found = records(run)
        trained = [record["step"] for record in found if record["kind"] == "train"]
        different = sum(one != other for one, other in zip(found, self.whole, strict=False))
        return {
            "exits": [job.process.returncode for job in jobs],
            "said": jobs[0].said.replace(str(self.folder), "") if jobs[0].process.returncode else "",
            "steps_again": self._progress.pop(run).steps_again(),
            "steps_repeated_or_lost": len(trained) - len(set(trained)) + len(set(range(1, STEPS + 1)) - set(trained)),
            "lines_different": different + abs(len(found) - len(self.whole)),
            "final_loss": _loss(found),
            "undisturbed": _loss(self.whole),
        }

    def must(self, job: Job) -> None:
        """Run a job that nothing is done to."""
        assert job.finish() == 0, "\n".join(job.lines)


_PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}


def _started() -> Cluster:
    """One node; Ray gives it half a minute to start, which is short on a busy machine."""
    node = {"num_cpus": 2, "include_dashboard": False}
    for _ in range(5):
        with suppress(Exception):
            return Cluster(initialize_head=True, head_node_args=node)
        time.sleep(5)
    return Cluster(initialize_head=True, head_node_args=node)


def records(run: Path) -> list[dict[str, Any]]:
    """The losses and validations of a run, without how long they took; what is told once an attempt is left out."""
    told = (one for one in read_records(str(run)) if one["kind"] in ("train", "validation"))
    return [{name: value for name, value in one.items() if name not in _CLOCKS} for one in told]


def _loss(found: list[dict[str, Any]]) -> float | None:
    losses = [record["loss"] for record in found if record["kind"] == "train"]
    return losses[-1] if losses else None


def write_log(folder: Path, day: int) -> None:
    """The interactions of a day, as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    began = 1_600_000_000 + 10**6 * day
    rows = [f"u{u},i{(u * 7 + t * (1 + u % 3)) % 30},{began + 60 * t}" for u in range(120) for t in range(3 + u % 15)]
    file = folder / f"{day}.csv"
    if not file.exists():
        file.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")


def fingerprint(corpus: Path, version: int) -> str:
    """What a version of a corpus holds."""
    found: str = json.loads((corpus / "manifests" / f"{version:06d}.json").read_text())["content_fingerprint"]
    return found
