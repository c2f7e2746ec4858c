"""Tasks that belong together: in Ray's workers where the job is connected to Ray, else in threads of this process.

Where one fails, or the job is stopped, all have ended when the error comes out: whoever then deletes what they wrote
deletes all of it. The price is that Ray's workers are killed, and threads waited for. Threads start at once and share
what they are given; they take turns wherever a task runs Python, which is little where Arrow and numpy do the work.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import ray

from ray_userrep.logs.connection import connect, nodes

_SECONDS = 30.0  # that a machine under load may take to end a process
_THREADS_BYTES = 2**30  # of a log that threads are enough for: to start Ray takes as long as they take for half of it

Call = tuple[Any, ...]  # a function and what it is given
Take = Callable[[int, Any], None]  # takes a call's number and what it returned


def get_ready(num_bytes: int) -> None:
    """Start Ray where none was joined and what is to be worked on is large."""
    if num_bytes > _THREADS_BYTES:
        connect()


def shared(value: Any) -> Any:
    """What many calls are given, held once on each node."""
    return ray.put(value) if ray.is_initialized() else value


def results(calls: Sequence[Call]) -> list[Any]:
    """What the calls return, in their order."""
    found: list[Any] = [None] * len(calls)
    run(calls, found.__setitem__)
    return found


def run(calls: Sequence[Call], take: Take) -> None:
    """Call everywhere at once; what each call returns is taken as it comes."""
    (_run_in_ray if ray.is_initialized() else _run_in_threads)(calls, take)


def _run_in_ray(calls: Sequence[Call], take: Take) -> None:
    remote = ray.remote(_called).options(scheduling_strategy="SPREAD")
    waiting = {remote.remote(*call): number for number, call in enumerate(calls)}
    try:
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            take(waiting.pop(ready), ray.get(ready))
    except BaseException:
        stop(list(waiting))
        raise


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _run_in_threads(calls: Sequence[Call], take: Take) -> None:
    with ThreadPoolExecutor(num_threads()) as pool:
        waiting = {pool.submit(*call): number for number, call in enumerate(calls)}
        try:
            for done in as_completed(waiting):
                take(waiting.pop(done), done.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def num_threads() -> int:
    """How many threads do the work of a job that is alone: one a core."""
    return max(1, int(nodes()[0].get("CPU", 1)))


def stop(tasks: Sequence[Any]) -> None:
    """End tasks of Ray's that still run."""
    for task in tasks:
        ray.cancel(task, force=True)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=_SECONDS)
