"""A job of the project as a process of its own, watched by what it prints and broken from outside."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0  # a job that is not over by then hangs
_STEP = re.compile(r"step\s+(\d+)/")


class Job:
    """`jobs/NAME.py` with options, on the Ray at an address."""

    def __init__(self, name: str, options: list[str], address: str, more: dict[str, str] | None = None) -> None:
        environment = os.environ | {"RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)} | (more or {})
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "jobs" / f"{name}.py"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self._own: list[psutil.Process] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def steps(self) -> list[int]:
        """The steps that were told of, in order."""
        return [int(found[1]) for line in self.lines if (found := _STEP.match(line))]

    @property
    def said(self) -> str:
        """What it said last."""
        told = [line for line in self.lines if line.startswith(("error:", "stopped"))]
        return (told or [line for line in self.lines if line.strip()] or [""])[-1]

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened, or the job is over."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and not happened() and time.monotonic() < deadline:
            time.sleep(0.002)

    def at_step(self, step: int) -> None:
        """Wait until a step has been told of."""
        self.until(lambda: max(self.steps, default=0) >= step)

    def children(self, name: str) -> list[psutil.Process]:
        """Processes below it by their name, as `raylet`."""
        with suppress(psutil.NoSuchProcess):
            self._own = psutil.Process(self.process.pid).children(recursive=True)
        return named(self._own, name)

    def send(self, number: signal.Signals) -> None:
        """Send the driver a signal; what it started is found again when it is gone."""
        self.children("")
        self.process.send_signal(number)

    def finish(self) -> int:
        """Its exit code, with nothing left of what it started; a job that hangs is killed and has none of its own."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.children("")
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(self._own, timeout=20)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._reader.join(10)
        return self.process.returncode


def named(processes: list[psutil.Process], name: str) -> list[psutil.Process]:
    """Those whose program or title has a name in it."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            if name in process.name() or name in " ".join(process.cmdline()[:1]):
                found.append(process)
    return found
