"""What a task is: users dealt into three parts, an objective over the training part, and figures over the others.

A task has no loop of its own: it hands out what windows are cut from and an objective, which any engine trains.

Shapes: U users of a part.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Cut, SplitPart
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.metrics import Measure
from ray_userrep.objectives.base import Objective

Part = SplitPart | Literal["train"]


class HeadShape(NamedTuple):
    """What an arm asks for between an encoder and a task: a hidden layer so wide, 0 for none, or a bridge.

    A `linear` bridge is one map for everybody, a `personal` one a map for each user; either starts from the user vector
    or, `of_factors`, from the user's factors in the source domain.
    """

    hidden: int = 0
    bridge: Literal["linear", "personal"] | None = None
    of_factors: bool = False


class Task(Protocol):
    """What an encoder is adapted to; the first of `measures` is the one that is compared and validated on."""

    name: str
    measures: Mapping[str, Measure]
    windows: Literal["last", "tile", "random"]

    def cut(self, share: float) -> Cut:
        """The training users, or a share of them, each with what may be trained on; shares are nested."""
        ...

    def data(self, share: float) -> str:
        """A name of what is trained on, equal only where that is equal."""
        ...

    def num_users(self, part: Part, share: float = 1.0) -> int:
        """How many users a part has."""
        ...

    def objective(self, encoder: UserEncoder, share: float, shape: HeadShape) -> Objective:
        """The loss with a new head."""
        ...

    def trains(self, name: str) -> bool:
        """Whether a parameter of the encoder belongs to the task's head, and trains whatever the arm says."""
        ...

    def truth(self, part: SplitPart) -> NDArray[Any]:
        """What the measures compare with, `[U]`."""
        ...

    def activity(self, part: SplitPart) -> NDArray[np.int64]:
        """How many interactions are known of each user of a part, `[U]`."""
        ...

    def predict(self, encoder: UserEncoder, objective: Objective, part: SplitPart) -> NDArray[Any]:
        """What is predicted of a part's users, `[U, ...]`."""
        ...

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The test users' stable hashes, and the time (us) of the newest interaction known of each, `[U]` both."""
        ...

    def baselines(self, share: float) -> dict[str, NDArray[np.float64]]:
        """What simple systems predict of the test users, by name."""
        ...


def headline(task: Task) -> str:
    """The measure that is compared and validated on."""
    return next(iter(task.measures))


def headline_sign(task: Task) -> int:
    """-1 where a smaller headline is better, else 1."""
    return task.measures[headline(task)].sign
