"""What faults cost: real jobs, broken from outside at seeded moments, and started again until they are done.

    python benchmarks/faults.py [--only NAME …] [--seed 0] [--folder DIR]

Each fault has a run of its own on one small log and is compared with a run that nothing happened to. Rows go to
results/faults.json as they come; what is there of the same seed is kept. Disks that are full or read-only are mounted,
which takes root.
"""

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from breaking.disks import fill, read_only, resize, small_disk
from breaking.jobs import Job
from breaking.lab import LOCAL, STEPS, Lab, Row, fingerprint, write_log

from ray_userrep.training.runs import environment

RESULT = Path(__file__).parent / "results" / "faults.json"
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
    written = rng.randrange(1, STEPS // 5)

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
    """The train worker gets no more memory."""

    def fault(job: Job) -> None:
        job.at_step(_middle(rng) // 2)
        lab.train_worker(job).rlimit(psutil.RLIMIT_AS, (2**20, 2**20))

    return _after(lab, run, fault)


def clock_back(lab: Lab, run: Path, rng: random.Random) -> Row:
    """The driver is killed, the clock set back by a day, and another machine goes on: files are of the future."""

    def cure() -> None:
        lease = run / "lease.json"
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"machine": "another"}))
        for file in run.rglob("*"):
            os.utime(file, (time.time() + _DAY,) * 2)

    return _after(lab, run, lambda job: (job.at_step(_middle(rng)), job.send(signal.SIGKILL)), cure)


FAULTS: tuple[Callable[[Lab, Path, random.Random], Row], ...] = (
    driver_killed, worker_killed, raylet_killed, gcs_killed, killed_in_checkpoint, killed_in_export, killed_in_report,
    terminated, disk_full_at_checkpoint, disk_full_at_preparation, read_only_run, checkpoint_truncated,
    checkpoint_flipped, corpus_flipped, not_a_number, two_drivers, two_preparations, append_while_training,
    worker_out_of_memory, clock_back,
)  # fmt: skip


def _begun(run: Path) -> list[str]:
    return [folder.name for folder in (run / "checkpoints").glob("step-*")]


def _middle(rng: random.Random) -> int:
    return rng.randrange(STEPS // 4, STEPS - 4)


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


def measured(lab: Lab, fault: Callable[[Lab, Path, random.Random], Row], seed: int) -> Row:
    """A fault's row, from a run of its own."""
    name = fault.__name__
    folder = lab.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    row = fault(lab, folder / "run", random.Random(f"{name}-{seed}"))
    shutil.rmtree(folder, ignore_errors=True)
    told = {"seed": seed, "about": (fault.__doc__ or "").strip(), "holds": holds(fault, row)}
    return told | row | {"seconds": round(time.monotonic() - began, 1)}


def holds(fault: Callable[[Lab, Path, random.Random], Row], row: Row) -> bool:
    """Whether the last job ended well with what the undisturbed run has; a loss that is no number is refused twice."""
    if fault is not_a_number:
        return bool(row["exits"] == [2, 2] and "the loss was" in row["said"])
    if "same" in row:
        return bool(row["same"] and row["versions"] and row["exits"][-1] == 0)
    return bool(row["exits"][-1] == 0 and not row["steps_repeated_or_lost"] and not row["lines_different"])


def table(rows: dict[str, Row]) -> str:
    """A line a fault."""
    head = f"{'fault':<26}{'holds':<7}{'exits':<16}{'again':>6}{'lost':>6}{'differ':>7}{'loss':>9}{'undist.':>9}  said"
    lines = [head]
    for name, row in rows.items():
        if "same" in row:
            figures = f"{'corpus the same' if row['same'] else 'another corpus':>37}"
        else:
            loss = "" if row["final_loss"] is None else f"{row['final_loss']:.5f}"
            figures = f"{row['steps_again']:>6}{row['steps_repeated_or_lost']:>6}{row['lines_different']:>7}"
            figures += f"{loss:>9}{row['undisturbed']:>9.5f}"
        lines.append(f"{name:<26}{row['holds']!s:<7}{row['exits']!s:<16}{figures}  {row['said'][:90]}")
    return "\n".join(lines)


def is_missing(row: Row | None, seed: int) -> bool:
    """Whether a fault is still to be measured."""
    return row is None or row["seed"] != seed


def main() -> None:
    by_name = {fault.__name__: fault for fault in FAULTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=by_name, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/faults"), metavar="DIR")
    options = parser.parse_args()
    report = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}
    lab = Lab(options.folder)
    try:
        for name in options.only or [name for name in by_name if is_missing(report["rows"].get(name), options.seed)]:
            report["rows"][name] = row = measured(lab, by_name[name], options.seed)
            report["environment"] = environment()
            RESULT.write_text(json.dumps(report, indent=1) + "\n")
            print(table({name: row}), flush=True)
    finally:
        lab.close()
    print(table(report["rows"]))


if __name__ == "__main__":
    main()
