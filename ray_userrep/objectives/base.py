"""What a pretraining objective is: it makes views of a batch, says how many terms they hold, and sums the loss.

Sums and counts are kept apart up to the step, where each part is divided by its count over the whole global batch.

Shapes: P parts of the objective.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import TypeVar

from ray_userrep.corpus import draws
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import DRAW, START, Batch

TARGET_USERS = "target_users"  # label: the user of each target
_DROPOUT, _WINDOW = 11, 51


class Draws(NamedTuple):
    """The randomness of one global batch; equal on every rank, whatever their number."""

    seed: int
    epoch: int
    batch: int

    def uniforms(self, purpose: int, counter: NDArray[np.integer]) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1), one for each counter."""
        return draws.uniforms(purpose, self.seed, self.epoch, self.batch, counter)

    def token_uniforms(self, purpose: int, batch: Batch) -> Tensor:
        """A uniform number for each token, by user and place in the user's sequence, whatever batch it is in."""
        place_T = batch.positions() + batch.per_token(batch.labels[START])
        users_T = batch.per_token(batch.users_B)
        return torch.from_numpy(draws.uniforms(purpose, self.seed, self.epoch, users_T.numpy(), place_T.numpy()))

    def window_uniforms(self, purpose: int, batch: Batch) -> Tensor:
        """A uniform number for each window, by user and place in the user's sequence."""
        keys = batch.users_B.numpy(), batch.labels[START].numpy()
        return torch.from_numpy(draws.uniforms(purpose, self.seed, self.epoch, *keys))

    def numbered(self, batch: Batch) -> Batch:
        """The batch with a number for each window, for what an encoder draws by itself (`DRAW`)."""
        keys = batch.users_B.numpy(), batch.labels[START].numpy()
        number_B = draws.bits(_WINDOW, self.seed, self.epoch, *keys).view(np.int64)
        return replace(batch, labels=batch.labels | {DRAW: torch.from_numpy(number_B)})

    def dropout_seed(self, rank: int) -> int:
        """Seed of the library generator that dropout draws from on a rank."""
        return draws.seed_of(_DROPOUT, self.seed, self.epoch, self.batch, rank)


class LossSum(NamedTuple):
    """The summed loss of each part, float32, `[P]`."""

    sums_P: Tensor


Gather = Callable[[Tensor], tuple[Tensor, int]]
"""From this rank's rows to the rows of all ranks, with gradients, and where this rank's own begin."""


def identity_gather(rows: Tensor) -> tuple[Tensor, int]:
    """The gather of a rank that has no others."""
    return rows, 0


Model = TypeVar("Model", bound=nn.Module, default=UserEncoder)


class Objective(nn.Module, ABC, Generic[Model]):
    """A pretraining loss; it owns its heads, never the encoder, which is a user encoder where nothing else is said.

    `weights` says how much each part's mean counts in the loss; of interactions it reads stored `side_columns`, and
    their times if it says so; `lookahead` is how many items a window carries beyond
    what the encoder is shown; one that `looks_across` windows has a loss that depends on what it gathers. Objectives
    of one view that show the encoder the same say which: all of a window but its newest item, or all of it.
    """

    parts: tuple[str, ...]
    weights: tuple[float, ...] = (1.0,)
    num_views: int = 1
    side_columns: tuple[str, ...] = ()
    reads_times: bool = False
    lookahead: int = 0
    looks_across: bool = False
    shows: Literal["all but the newest", "all"] | None = None
    dropped_heads: tuple[str, ...] = ()  # what it would predict as well if the log had it

    @abstractmethod
    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """What the encoder is shown, with targets in `side`; pure data work, done on the host ahead of the step."""

    @abstractmethod
    def counts(self, views: list[Batch]) -> Tensor:
        """How many terms each part sums, float32, `[P]`; nothing for a filler of weight 0."""

    @abstractmethod
    def forward(self, encoder: Model, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        """The summed losses of the views."""
