"""Ray tasks that belong together: where one fails, or the job is stopped, all have ended when the error comes out.

Whoever then deletes what they wrote deletes all of it. The price is that their workers are killed.
"""

from collections.abc import Sequence
from typing import Any

import ray

_SECONDS = 30.0  # that a machine under load may take to end a process


def results(tasks: Sequence[Any]) -> list[Any]:
    """What the tasks return, in their order."""
    try:
        return ray.get(list(tasks))
    except BaseException:
        stop(tasks)
        raise


def stop(tasks: Sequence[Any]) -> None:
    """End the tasks that still run."""
    for task in tasks:
        ray.cancel(task, force=True)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=_SECONDS)
