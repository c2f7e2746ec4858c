"""Freed memory is kept: what a process has freed counts as its own still."""

import subprocess
import sys

import pytest

# A process of its own, as the switch holds for as long as it runs.
SCRIPT = """
import resource, sys, torch
from ray_userrep.training.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def compute():
    for _ in range(10):
        torch.ones(16 << 20) + 1
    return faults()


print(-compute() + compute())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the switch")
def test_tensors_come_from_memory_that_was_freed():
    given, kept = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("given back", "kept")
    )
    assert kept < given / 10
