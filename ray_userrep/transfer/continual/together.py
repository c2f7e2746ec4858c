"""The newest task of a sequence with those before it trained along: multi-task learning, as it grows task by task.

It reads the newest task's users only and is judged by that task, so that it costs what fine-tuning costs; an earlier
task's loss counts where one of these users has a label to train it on. What no later task's users tell is still lost.

Shapes: U users.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.splits import Cut, SplitPart
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.weighted import Weighted
from ray_userrep.transfer.tasks.base import HeadShape, Task


class Together:
    """A task whose objective also sums those of earlier ones; in all else it is the newest one."""

    def __init__(self, newest: Task, earlier: Sequence[Task]) -> None:
        self.name = newest.name
        self.measures = newest.measures
        self.windows: Literal["last", "tile", "random"] = newest.windows
        self.newest = newest
        self._earlier = earlier

    def cut(self, share: float) -> Cut:
        return self.newest.cut(share)

    def data(self, share: float) -> str:
        return self.newest.data(share)

    def num_users(self, part: SplitPart | Literal["train"], share: float = 1.0) -> int:
        return self.newest.num_users(part, share)

    def objective(self, encoder: UserEncoder, share: float, shape: HeadShape) -> Weighted:
        """The newest task's loss and each earlier one's, all of one weight."""
        tasks = [self.newest, *self._earlier]
        found = [task.objective(encoder, share, shape) for task in tasks]
        joint = Weighted(found, [1.0] * len(found))
        joint.parts = tuple(f"{t.name} {part}" for t, own in zip(tasks, found, strict=True) for part in own.parts)
        return joint

    def trains(self, name: str) -> bool:
        return any(task.trains(name) for task in (self.newest, *self._earlier))

    def truth(self, part: SplitPart) -> NDArray[Any]:
        return self.newest.truth(part)

    def activity(self, part: SplitPart) -> NDArray[np.int64]:
        return self.newest.activity(part)

    def predict(self, encoder: UserEncoder, objective: Objective, part: SplitPart) -> NDArray[Any]:
        assert isinstance(objective, Weighted)
        own = objective.objectives[0]
        assert isinstance(own, Objective)
        return self.newest.predict(encoder, own, part)

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.newest.known_until()

    def baselines(self, share: float) -> dict[str, NDArray[np.float64]]:
        return self.newest.baselines(share)


def task_heads(state: dict[str, Tensor], numbers: Sequence[int]) -> dict[str, Tensor]:
    """From the state of `Together`'s objective to the heads of the tasks with these numbers, the newest first."""
    heads = {}
    for name, value in state.items():
        _, place, parameter = name.split(".", 2)  # objectives.<place>.<parameter>
        heads[f"{numbers[int(place)]}/{parameter}"] = value
    return heads
