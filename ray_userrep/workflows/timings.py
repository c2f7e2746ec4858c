"""How long the parts of a job took, and what is printed of it: measured on the driver, by the wall clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray_userrep import storage
from ray_userrep.report.results import RESULT


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """How long the block took, by name."""
    began = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - began


def places(run_uri: str, timings: dict[str, float], made: str) -> Iterator[str]:
    """How long each part took, and where the result and what was made are."""
    yield "time      " + "  ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items())
    yield f"result    {storage.join(run_uri, RESULT)}"
    yield f"{made:9s} {storage.join(run_uri, made)}"
