"""What a pretraining objective is: it makes views of a batch, says how many terms they hold, and sums the loss.

Sums and counts are kept apart up to the step, where each part is divided by its count over the whole global batch.

Shapes: P parts of the objective.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_userrep.corpus import draws
from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.user_encoder import UserEncoder

_DROPOUT = 11


class Draws(NamedTuple):
    """The randomness of one global batch; equal on every rank, whatever their number."""

    seed: int
    epoch: int
    batch: int

    def uniforms(self, purpose: int, counter: NDArray[np.integer]) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1), one for each counter."""
        return draws.uniforms(purpose, self.seed, self.epoch, self.batch, counter)

    def dropout_seed(self, rank: int) -> int:
        """Seed of the library generator that dropout draws from on a rank."""
        return draws.seed_of(_DROPOUT, self.seed, self.epoch, self.batch, rank)


class LossSum(NamedTuple):
    """The summed loss of each part, float32, `[P]`."""

    sums_P: Tensor


class Objective(nn.Module, ABC):
    """A pretraining loss; it owns its heads, never the encoder."""

    parts: tuple[str, ...]
    requires_causal: bool | None = None
    lookahead: int = 0

    @abstractmethod
    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """What the encoder is shown, with targets in `side`; pure data work, done on the host ahead of the step."""

    @abstractmethod
    def counts(self, views: list[Batch]) -> Tensor:
        """How many terms each part sums, float32, `[P]`; nothing for a filler of weight 0."""

    @abstractmethod
    def forward(self, encoder: UserEncoder, views: list[Batch]) -> LossSum:
        """The summed losses of the views."""
