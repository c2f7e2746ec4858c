"""Memory and processor time of a process and all that it started, sampled.

Memory is the sum of proportional set sizes, shared memory with them. What a process took after the last sample of it is
missed, so that processor time is a little low.
"""

import os
import subprocess
import threading
import time
from pathlib import Path

_SECONDS = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


class Sampled:
    """Samples the tree below a process until that has ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.peak_bytes = 0
        self._ticks: dict[int, int] = {}
        self._process = process
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def join(self) -> dict[str, float]:
        """Wait for the end; the largest sum that was seen, and the processor time of all processes."""
        self._thread.join()
        return {"peak_bytes": self.peak_bytes, "cpu_seconds": sum(self._ticks.values()) / _TICKS}

    def _sample(self) -> None:
        while self._process.poll() is None:
            pids = tree(self._process.pid)
            self.peak_bytes = max(self.peak_bytes, sum(pss(pid) for pid in pids))
            self._ticks.update((pid, fields[1]) for pid in pids if (fields := _stat(pid)))
            time.sleep(_SECONDS)


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    parents = {pid: fields[0] for pid in pids if (fields := _stat(pid))}
    found, wanted = [root], {root}
    while wanted:
        wanted = {pid for pid, parent in parents.items() if parent in wanted}
        found += wanted
    return found


def _stat(pid: int) -> tuple[int, int] | None:
    """A process's parent and its ticks of processor time, None where it has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12])


def pss(pid: int) -> int:
    """The proportional set size of a process, 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
