"""Memory of a pretraining as users grow tenfold, and as steps and validations go on.

    python benchmarks/memory.py [--users 2000000 20000000] [--steps 2000 --validations 50]

Synthetic logs of short users are prepared and pretrained on with the default evaluation, for a few steps: what grows is
then what depends on the users. Memory is the sum of proportional set sizes, sampled, of the driver, of the ranks, and
of everything that the job started; preparation is measured apart. Then a run of many steps and validations on the
fewest users: memory and open descriptors early in it beside late in it. The result goes to
benchmarks/results/memory.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from preparers.memory import pss, tree
from running import RESULTS, ROOT

from ray_userrep.command import parse
from ray_userrep.corpus.store import open_corpus
from ray_userrep.scaling.study.point import plan_of
from ray_userrep.training.runs import environment

MIB, SECONDS = 2**20, 0.5
KINDS = ("driver", "ranks", "rest")
EARLY, LATE = (0.2, 0.4), (0.8, 1.0)  # of the time in which there are ranks
Row = dict[str, Any]


class Sample(NamedTuple):
    """When it was taken (s), and by kind of process memory (bytes) and open descriptors."""

    seconds: float
    memory: dict[str, int]
    descriptors: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs=2, default=[2_000_000, 20_000_000])
    parser.add_argument("--interactions-per-user", type=int, default=5)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--size-steps", type=int, default=100, help="of the runs that compare numbers of users")
    parser.add_argument("--steps", type=int, default=2000, help="of the run that is watched over time")
    parser.add_argument("--validations", type=int, default=50)
    parser.add_argument("--validated-users", type=int, default=5000, help="of the run that is watched over time")
    parser.add_argument("--scratch", type=Path, help="folder for logs and corpora, kept; empty: one that is not")
    options = parser.parse_args()
    told = {name: value for name, value in vars(options).items() if name != "scratch"}
    result: Row = {"environment": environment(), "options": told, "load": os.getloadavg()[0], "users": {}}
    with tempfile.TemporaryDirectory() as temporary:
        place = options.scratch or Path(temporary)
        for users in options.users:
            result["users"][str(users)] = of_size(place, users, options)
        few, many = (result["users"][str(users)]["pretrain"] for users in options.users)
        result["times"] = {kind: many[kind] / few[kind] for kind in (*KINDS, "together")}
        result["over time"] = over_time(place, options)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


def of_size(place: Path, users: int, options: argparse.Namespace) -> Row:
    """The peaks (MiB) of preparing and of pretraining on so many users."""
    log, corpus = place / f"log-{users}", place / f"corpus-{users}"
    if not (log / "_synthetic.json").exists():
        size = ["--interactions", str(users * options.interactions_per_user), "--users", str(users)]
        watched("synthesize", "--output", str(log), *size, "--items", str(options.items), "--days", "10")
    prepared = peaks(watched("prepare", "--logs", str(log), "--corpus", str(corpus)))
    run = place / f"run-{users}-{time.time_ns()}"
    trained = watched("pretrain", *shared(corpus, run), "--train.max_steps", str(options.size_steps))
    found: Row = {"prepare": prepared, "pretrain": peaks(trained)}
    print(f"{users:,} users {json.dumps(found)}", flush=True)
    told = json.loads((run / "result.json").read_text())
    return found | {name: told[name] for name in ("timings", "samples")}


def over_time(place: Path, options: argparse.Namespace) -> Row:
    """Medians of memory (MiB) and descriptors, early and late in a long run."""
    corpus, run = place / f"corpus-{options.users[0]}", place / f"long-{time.time_ns()}"
    plan = plan_of(parse(shared(corpus, run)), open_corpus(str(corpus)))
    every = options.steps / options.validations / plan.num_batches
    long = ["--train.max_steps", str(options.steps), "--train.eval_every", str(every)]
    few = ["--evaluation.max_users", str(options.validated_users), "--evaluation.baselines", "false"]
    samples = watched("pretrain", *shared(corpus, run), *long, *few)
    training = [sample for sample in samples if sample.memory["ranks"]]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "validations": sum(line["kind"] == "validation" for line in lines),
        "steps": max(line["step"] for line in lines),
        "early": medians(training, EARLY),
        "late": medians(training, LATE),
    }


def shared(corpus: Path, run: Path) -> list[str]:
    """Of all pretrainings; a stage of ZeRO asks for a worker, whose memory is then apart from the driver's."""
    return ["--corpus", str(corpus), "--run", str(run), "--train.epochs", "1000", "--train.zero.stage", "1"]


def watched(job: str, *options: str, until: Callable[[], bool] = lambda: False) -> list[Sample]:
    """A job in a process of its own, with a Ray of its own, sampled until it ends or what is waited for is there."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
    process = subprocess.Popen([sys.executable, ROOT / "jobs" / f"{job}.py", *options], env=env)
    began, samples = time.perf_counter(), list[Sample]()
    while process.poll() is None:
        pids = {pid: kind_of(pid, process.pid) for pid in tree(process.pid)}
        memory, descriptors = (dict.fromkeys(KINDS, 0) for _ in range(2))
        for pid, kind in pids.items():
            memory[kind] += pss(pid)
            descriptors[kind] += num_open(pid)
        samples.append(Sample(time.perf_counter() - began, memory, descriptors))
        if until():
            process.terminate()
            process.wait()
            return samples
        time.sleep(SECONDS)
    if process.returncode:
        raise SystemExit(f"{job} failed with {process.returncode}")
    return samples


def kind_of(pid: int, driver: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "rest"
    return "driver" if pid == driver else "ranks" if b"TrainWorker" in command else "rest"


def num_open(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def peaks(samples: list[Sample]) -> dict[str, float]:
    """The most memory (MiB) by kind of process, and of all together."""
    most = {kind: max(sample.memory[kind] for sample in samples) / MIB for kind in KINDS}
    return most | {"together": max(sum(sample.memory.values()) for sample in samples) / MIB}


def medians(samples: list[Sample], part: tuple[float, float]) -> Row:
    chosen = samples[int(part[0] * len(samples)) : int(part[1] * len(samples))]
    return {
        "mib": {kind: statistics.median(sample.memory[kind] for sample in chosen) / MIB for kind in KINDS},
        "descriptors": {kind: statistics.median(sample.descriptors[kind] for sample in chosen) for kind in KINDS},
    }


def table(result: Row) -> str:
    columns = (*KINDS, "together")
    lines = [f"{'MiB':24s}" + "".join(f"{kind:>12s}" for kind in columns)]
    for users, found in result["users"].items():
        for job in ("prepare", "pretrain"):
            cells = "".join(f"{found[job][kind]:12,.0f}" for kind in columns)
            lines.append(f"{int(users):>14,} {job:9s}{cells}")
    lines.append(f"{'times':24s}" + "".join(f"{result['times'][kind]:12.2f}" for kind in columns))
    for when in ("early", "late"):
        found = result["over time"][when]
        cells = "".join(f"{found['mib'][kind]:,.0f} ({found['descriptors'][kind]:.0f})".rjust(12) for kind in KINDS)
        lines.append(f"{when + ', MiB (descriptors)':24s}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
