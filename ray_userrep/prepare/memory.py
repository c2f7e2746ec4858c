"""The most memory a task took: the peak of its process since the task began, where the system can tell."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

PEAK = "peak_bytes"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_UNIT = 1 if sys.platform == "darwin" else 1024


def watch_peak() -> None:
    """Forget earlier peaks; where that cannot be done, the peak is that of the process's whole life."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int:
    """The largest resident size since `watch_peak`, shared pages with it."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
