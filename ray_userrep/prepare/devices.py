"""GPUs of tasks: asked of Ray, so that nobody uses one that Ray believes free; who asks for none sees none.

Ray 2.60 leaves all GPUs of a node visible to a task that asked for none, and torch and DeepSpeed take what they see. A
driver cannot ask: what wants a GPU runs in a task, at the price of sending its encoder there.
"""

import math
import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import ray

from ray_userrep.logs.connection import connect, num_gpus
from ray_userrep.prepare.stages import plain_errors

HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}  # the environment of a process that has no GPU

Device = Literal["cpu", "cuda"]
T = TypeVar("T")


def gpus_asked(use_gpu: bool | None, sharers: int = 1) -> float:
    """How much of a GPU each of so many processes side by side asks for; 0 where there is none or none is wanted.

    `use_gpu` true asks for one also where nodes with GPUs are still to come.
    """
    there = num_gpus()
    if use_gpu is False or not (there or use_gpu):
        return 0.0
    return 1 / max(1, math.ceil(sharers / there)) if there else 1.0


def device_of_task(num_gpus: float) -> Device:
    """The device of the task that calls it and asked for so much of a GPU; without any, CUDA is hidden from it."""
    if not num_gpus:
        os.environ |= HIDDEN
        return "cpu"
    import torch  # here, as a log is prepared without the second that it takes to import

    return "cuda" if torch.cuda.is_available() else "cpu"


def with_gpu(use_gpu: bool | None, work: Callable[..., T], *given: Any) -> T:
    """What `work(*given, device)` gives: in a task that has a GPU where there is one, else in this process on the CPU.

    Raises:
        UserError: as `work`.
    """
    if not gpus_asked(use_gpu):
        return work(*given, "cpu")
    connect()
    with plain_errors():
        found: T = ray.get(ray.remote(_with_device).options(num_gpus=1).remote(work, given))
        return found


def _with_device(work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    return work(*given, device_of_task(1))
