"""Learning rates against the formulas written out, and what counts as time of training."""

import math

import numpy as np
import pytest
import torch

from ray_userrep.feed.plan import Position
from ray_userrep.feed.stream import Step
from ray_userrep.recipe.train import ScheduleConfig, TrainConfig
from ray_userrep.training import loop
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.loop import Callback, Loop, TrainState, scheduled_rate


def rates(total, **config):
    return [scheduled_rate(ScheduleConfig(**config), 2.0, step, total) for step in range(total)]


def test_warmup_is_linear_and_reaches_the_peak():
    assert rates(100, warmup_share=0.1)[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])


def test_cosine_falls_to_the_floor_at_the_last_step():
    got = rates(101, warmup_share=0.0, floor=0.1)
    want = [2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * i / 100))) for i in range(101)]
    assert got == pytest.approx(want)


def test_wsd_stays_at_the_peak_and_then_falls_in_a_line():
    got = rates(100, kind="wsd", warmup_share=0.0, decay_share=0.25, floor=0.0)
    assert got[:75] == [2.0] * 75
    assert got[75:] == pytest.approx([2.0 * (99 - i) / 25 for i in range(75, 100)])


def test_constant_stays():
    assert rates(10, kind="constant", warmup_share=0.0) == [2.0] * 10


def test_a_single_step_is_defined():
    assert rates(1) == [2.0]


class Clock:
    """A clock that is set forward by what is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_seconds_are_those_of_steps_not_of_validations(monkeypatch):
    clock, told = Clock(), []

    class Validation(Callback):
        def on_step(self, loop, loss_P):
            told.append(loop.state.seconds)
            with loop.paused():
                clock.now += 100

    def step(*_: object) -> torch.Tensor:
        clock.now += 2
        return torch.zeros(1)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "train_step", step)
    engine = BareEngine(torch.nn.Linear(1, 1), TrainConfig(), torch.device("cpu"))
    steps = [Step(Position(0, n), Position(0, n + 1), (), np.zeros(1, np.int64)) for n in range(3)]
    run = Loop(engine, TrainConfig(epochs=3), 1, TrainState(), [Validation()])
    run.run(iter(steps), 1)
    assert told == [2.0, 4.0, 6.0]
