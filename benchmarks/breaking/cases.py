"""The faults: each is a run of its own, broken once from outside, and told as a row beside the undisturbed run."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from breaking.disks import fill, read_only, resize, small_disk
from breaking.jobs import Job
from breaking.lab import LOCAL, STEPS, Lab, Row, fingerprint, write_log
from breaking.memory import starved

_DAY = 86_400.0


def driver_killed(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is killed in the middle of training."""
    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.send(signal.SIGKILL)))


def worker_killed(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The train worker is killed in the middle of training."""
    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), lab.train_worker(job).kill()))


def raylet_killed(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The node's Ray process is killed in the middle of training."""
    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.children("raylet")[0].kill()), address=LOCAL)


def gcs_killed(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The head's Ray process is killed in the middle of training."""
    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.children("gcs")[0].kill()), address=LOCAL)


def killed_in_checkpoint(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The train worker is killed as soon as there is a file of a checkpoint."""
    written = rng.randrange(1, STEPS // 40)

    def fault(job: Job) -> None:
        seen = set[str]()
        job.until(lambda: bool(seen.update(_begun(run))) or len(seen) >= written)
        lab.train_worker(job).kill()

    return _after(lab, run, fault)


def killed_in_export(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is killed as soon as there is a file of the encoder."""
    return _after(lab, run, lambda job: (job.until((run / "encoder").exists), job.send(signal.SIGKILL)))


def killed_in_report(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is killed as soon as the result is there, and the page is drawn by `report`."""
    job = lab.pretrain(run)
    job.until((run / "result.json").exists)
    job.send(signal.SIGKILL)
    job.finish()
    page = Job("report", [str(run)], LOCAL)
    page.finish()
    return lab.row(run, [job, page]) | {"page": (run / "report.html").exists()}


def terminated(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is told to end (SIGTERM)."""
    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.send(signal.SIGTERM)))


def disk_full_at_checkpoint(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The disk of the run folder is full when a checkpoint is written; room is made."""
    with small_disk(run, 4096):
        return _after(
            lab,
            run,
            lambda job: (job.at_step(_middle(rng) // 2), fill(run)),
            lambda: (run / ".filler").unlink(),
        )


def disk_full_at_preparation(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The disk of the corpus folder has room for little of it; room is made."""
    corpus = run / "corpus"
    with small_disk(corpus, 16):
        first = lab.prepare(corpus)
        first.finish()
        resize(corpus, 8192)
        second = lab.prepare(corpus)
        second.finish()
        return _of_corpus(lab, corpus, [first, second])


def read_only_run(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The disk of the run folder becomes read-only; it is made writable."""
    with small_disk(run, 4096):
        return _after(
            lab,
            run,
            lambda job: (job.at_step(_middle(rng) // 2), read_only(run, True)),
            lambda: read_only(run, False),
        )


def checkpoint_truncated(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The newest checkpoint lost half of a file; it is deleted, as the message says."""
    return _damaged(lab, run, rng, lambda data: data[: len(data) // 2])


def checkpoint_flipped(lab: Lab, run: Path, rng: random.Random) -> Row:
    """A bit of the newest checkpoint was flipped; it is deleted, as the message says."""
    return _damaged(lab, run, rng, lambda data: _flipped(data, rng))


def corpus_flipped(lab: Lab, run: Path, rng: random.Random) -> Row:
    """A bit of a file of the corpus was flipped; it is put right."""
    corpus = run.parent / "flipped-corpus"
    shutil.copytree(lab.corpus, corpus)
    file = next(corpus.glob("data/*/sequences/*/*.parquet"))
    good = file.read_bytes()
    file.write_bytes(_flipped(good, rng))
    first = lab.pretrain(run, corpus=corpus)
    first.finish()
    file.write_bytes(good)
    return lab.row(run, lab.again(run, first, corpus=corpus))


def not_a_number(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The loss is no longer a number: the same recipe again ends the same."""
    wild = ("--train.learning_rate", "1e20", "--train.clip_norm", "1e30")
    first = lab.pretrain(run, *wild)
    first.finish()
    second = lab.pretrain(run, *wild)
    second.finish()
    return lab.row(run, [first, second])


def two_drivers(lab: Lab, run: Path, rng: random.Random) -> Row:
    """A second job on the same run while the first trains, which is stopped meanwhile and goes on."""
    first = lab.pretrain(run)
    first.at_step(_middle(rng))
    worker = lab.train_worker(first)
    worker.suspend()
    second = lab.pretrain(run)
    refused = second.finish()
    worker.resume()
    first.finish()
    return lab.row(run, [first]) | {"said": second.said.replace(str(lab.folder), ""), "second_exit": refused}


def two_preparations(lab: Lab, run: Path, rng: random.Random) -> Row:
    """Two jobs prepare the same log into the same corpus at once."""
    jobs = [lab.prepare(run / "corpus") for _ in range(2)]
    for job in jobs:
        job.finish()
    return _of_corpus(lab, run / "corpus", jobs)


def append_while_training(lab: Lab, run: Path, rng: random.Random) -> Row:
    """Another day is appended to the corpus that is trained on; the worker is killed then, so that it opens it anew."""
    corpus = run.parent / "appended-corpus"
    shutil.copytree(lab.corpus, corpus)
    first = lab.pretrain(run, corpus=corpus)
    first.at_step(_middle(rng))
    worker = lab.train_worker(first)
    worker.suspend()
    write_log(lab.folder / "later", 1)
    appended = Job(
        "prepare",
        ["--logs", str(lab.folder / "later"), "--corpus", str(corpus), "--corpus.append", "true"],
        lab.cluster.address,
    )
    appended.finish()
    worker.kill()
    return lab.row(run, lab.again(run, first, corpus=corpus)) | {"appended_exit": appended.process.returncode}


def worker_out_of_memory(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The train worker gets no more memory in the middle of training, and the kernel ends it."""

    def fault(job: Job) -> None:
        job.at_step(_middle(rng))
        worker = lab.train_worker(job)
        with starved(worker.pid):
            worker.wait(60)

    return _after(lab, run, fault)


def clock_back(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is killed, the clock set back by a day, and another machine goes on: files are of the future."""

    def cure() -> None:
        lease = run / "lease.json"
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"machine": "another"}))
        for file in run.rglob("*"):
            os.utime(file, (time.time() + _DAY,) * 2)

    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.send(signal.SIGKILL)), cure)


def _begun(run: Path) -> list[str]:
    return [folder.name for folder in (run / "checkpoints").glob("step-*")]


def _middle(rng: random.Random) -> int:
    return rng.randrange(STEPS // 4, STEPS // 2)  # what is printed lags: later it might be over


def _after(
    lab: Lab,
    run: Path,
    fault: Callable[[Job], object],
    cure: Callable[[], object] = lambda: None,
    address: str | None = None,
) -> Row:
    """A run that a fault hits once."""
    first = lab.pretrain(run, address=address)
    fault(first)
    return lab.row(run, lab.again(run, first, cure))


def _damaged(lab: Lab, run: Path, rng: random.Random, damage: Callable[[bytes], bytes]) -> Row:
    """A run that was killed, whose newest checkpoint is damaged, refused and deleted."""
    killed = lab.pretrain(run)
    killed.at_step(_middle(rng))
    killed.send(signal.SIGKILL)
    killed.finish()
    newest = sorted((run / "checkpoints").glob("step-*/manifest.json"))[-1].parent
    file = max(newest.glob("*.safetensors"), key=lambda file: file.stat().st_size)
    file.write_bytes(damage(file.read_bytes()))
    refused = lab.pretrain(run)
    jobs = lab.again(run, refused, lambda: shutil.rmtree(newest))
    return lab.row(run, [killed, *jobs]) | {"said": refused.said.replace(str(lab.folder), "")}


def _flipped(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) // 4, len(data) // 2)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _of_corpus(lab: Lab, corpus: Path, jobs: list[Job]) -> Row:
    """What became of a preparation that was broken, beside the undisturbed corpus."""
    versions = sorted((corpus / "manifests").glob("*.json"))
    same = [fingerprint(corpus, int(file.stem)) == fingerprint(lab.corpus, 1) for file in versions]
    said = next((job.said for job in jobs if job.process.returncode), jobs[0].said)
    exits = [job.process.returncode for job in jobs]
    return {"exits": exits, "said": said.replace(str(lab.folder), ""), "versions": len(same), "same": all(same)}


Fault = Callable[[Lab, Path, random.Random], Row]

FAULTS: tuple[Fault, ...] = (
    driver_killed, worker_killed, raylet_killed, gcs_killed, killed_in_checkpoint, killed_in_export, killed_in_report,
    terminated, disk_full_at_checkpoint, disk_full_at_preparation, read_only_run, checkpoint_truncated,
    checkpoint_flipped, corpus_flipped, not_a_number, two_drivers, two_preparations, append_while_training,
    worker_out_of_memory, clock_back,
)  # fmt: skip

# What only a user can put right: the job says how in one line.
TO_MEND: tuple[Fault, ...] = (
    disk_full_at_checkpoint, disk_full_at_preparation, read_only_run, checkpoint_truncated, checkpoint_flipped,
    corpus_flipped,
)  # fmt: skip
