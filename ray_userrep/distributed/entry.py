"""What the processes of Ray Train are given: names of what to run, and little more.

One of them starts the workers. Were it given the training itself, it would import all of it first, and every worker the
same again after that: seconds before each start.
"""

from typing import Any

from ray.train.v2.api.callback import UserCallback

from ray_userrep.errors import UserError


def work(job: dict[str, Any]) -> None:
    """What each worker runs."""
    from ray_userrep.distributed.worker import fit_as_told

    fit_as_told(job)


class EndAtRefusal(UserCallback):
    """Ends the run with the refusal of any worker: Ray would start all of them again, to be refused again."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, UserError):
                raise error
