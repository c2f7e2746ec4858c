"""The one training loop: takes steps from the plan until the budget is spent, and calls its callbacks.

Everything that is not the step itself (logging, validation, checkpoints) is a callback with named hooks; the loop and
its state stay small enough to read at once. The learning rate is a pure function of the step: nothing to save, nothing
to restore.

Shapes: D domains, P parts of the objective.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.feed.plan import Position
from ray_userrep.feed.stream import Prefetch, Step
from ray_userrep.recipe.train import ScheduleConfig, TrainConfig
from ray_userrep.training.step import Engine, Micros, train_step


@dataclass
class TrainState:
    """All that a resumed run needs beside the engine's own states."""

    step: int = 0
    position: Position = Position()
    seconds: float = 0.0
    best_metric: float | None = None
    best_step: int = 0
    stale_validations: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"position": list(self.position)}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "TrainState":
        return TrainState(**(raw | {"position": Position(*raw["position"])}))


class Callback:
    """Hooks around the loop; each does nothing unless a callback says otherwise."""

    def on_start(self, loop: "Loop") -> None:
        """Before the first step of this attempt."""

    def on_step(self, loop: "Loop", loss_P: Tensor) -> None:
        """After each optimiser step, with this rank's share of each part's loss, on the device."""

    def on_end(self, loop: "Loop") -> None:
        """After the last step, not after an error."""


class Loop:
    """Runs `total_steps` optimiser steps from a state on; a callback ends it early by setting `stopped`."""

    def __init__(
        self,
        engine: Engine,
        config: TrainConfig,
        steps_per_epoch: int,
        state: TrainState,
        callbacks: Sequence[Callback],
    ) -> None:
        self.engine = engine
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps(config, steps_per_epoch)
        self.state = state
        self.callbacks = callbacks
        self.stopped = False
        self.data_wait_seconds = 0.0
        self._paused_seconds = 0.0
        self.targets_D: NDArray[np.int64] | None = None

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return scheduled_rate(self.config.schedule, self.config.learning_rate, self.state.step, self.total_steps)

    def interval(self, epochs: float) -> int:
        """Steps in so many epochs, longer ones where `min_steps` repeats passes."""
        stretched = max(1.0, self.config.min_steps / (self.config.epochs * self.steps_per_epoch))
        return max(1, round(epochs * self.steps_per_epoch * stretched))

    @property
    def finished(self) -> bool:
        return self.stopped or self.state.step >= self.total_steps

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile does not count as training: rates and the time left are without it."""
        began = time.perf_counter()
        yield
        self._paused_seconds += time.perf_counter() - began

    def run(self, source: Iterator[Step[Micros]], prefetch: int) -> TrainState:
        """Train until the budget is spent or a callback stops the loop."""
        for callback in self.callbacks:
            callback.on_start(self)
        if not self.finished:
            steps = Prefetch(source, prefetch)
            try:
                self._run(steps)
            finally:
                steps.close()
        for callback in self.callbacks:
            callback.on_end(self)
        return self.state

    def _run(self, steps: Prefetch[Step[Micros]]) -> None:
        began, before = time.perf_counter(), self.state.seconds
        for step in steps:
            self.data_wait_seconds = steps.wait_seconds
            loss_P = train_step(self.engine, step.micros, self.learning_rate)
            self.targets_D = step.targets_D if self.targets_D is None else self.targets_D + step.targets_D
            self.state.step += 1
            self.state.position = step.after
            self.state.seconds = before + time.perf_counter() - began - self._paused_seconds
            for callback in self.callbacks:
                callback.on_step(self, loss_P)
            if self.finished:
                return


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Optimiser steps of a whole run."""
    steps = max(config.min_steps, round(config.epochs * steps_per_epoch))
    return steps if config.max_steps is None else min(steps, config.max_steps)


def scheduled_rate(config: ScheduleConfig, peak: float, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`.

    Warm-up is linear to the peak; `cosine` falls to `floor * peak` at the last step; `wsd` stays and then falls
    linearly (Hu et al. 2024, MiniCPM, section 4).
    """
    warmup = round(config.warmup_share * total)
    if step < warmup:
        return peak * (step + 1) / warmup
    match config.kind:
        case "constant":
            return peak
        case "cosine":
            share = (step - warmup) / max(1, total - 1 - warmup)
            fall = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        case "wsd":
            decay = max(1, round(config.decay_share * total))
            fall = min(1.0, (total - 1 - step) / decay)
        case never:
            assert_never(never)
    return peak * (config.floor + (1 - config.floor) * fall)
