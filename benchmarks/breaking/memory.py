"""Memory that a process no longer gets: a control group with next to none, so that the kernel ends it as it would any
that ran out. That takes root.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_LIMITS = ("memory/memory.limit_in_bytes", "memory.max")  # of the first and the second version of control groups
_BYTES = 2**16  # what it has already is not counted


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """A process that is given no more memory; it has to be gone when this ends."""
    limit = next(_ROOT / name for name in _LIMITS if (_ROOT / name).exists() or name == _LIMITS[-1])
    group = limit.parent / "faults"
    group.mkdir()
    try:
        (group / limit.name).write_text(str(_BYTES))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        group.rmdir()
