"""What happens between steps: logging, validation with early stopping, checkpoints.

All ranks run the same callbacks in the same order, since each may talk to the others.

Shapes: S steps since the last record, P parts of the objective.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ray_userrep.errors import DivergedError
from ray_userrep.feed.plan import BatchPlan
from ray_userrep.training.checkpoint import Checkpoints
from ray_userrep.training.loop import Callback, Loop

Record = dict[str, Any]
Sink = Callable[[Record], None]
AnySink = TypeVar("AnySink", bound=Sink)

_DIVERGED = 1.5  # times the first losses


def tell_all(sinks: dict[Any, AnySink], record: Record) -> None:
    """Give a record to every sink, by name; one that fails is told of and left out from then on."""
    for name, sink in list(sinks.items()):
        try:
            sink(record)
        except Exception as error:  # whatever it is, the run folder has all records, and training goes on
            del sinks[name]
            print(f"warning   {name} takes no more figures, the run folder has them all: {error}", flush=True)


class Log(Callback):
    """Every `log_every` steps: the losses of each step, the rate, the data wait and the time left.

    Losses stay on the device until then, so that no step waits for them. A non-finite one ends the run. Where there
    are several domains, `targets` says how many interactions of each these steps trained on: records add up. What
    `told_of` tells of a rate, in interactions/s, is recorded beside it.
    """

    def __init__(
        self,
        parts: Sequence[str],
        weights: Sequence[float],
        tokens_per_step: float,
        sink: Sink,
        domains: Sequence[str] = (),
        told_of: Callable[[float], Record] = lambda rate: {},
    ) -> None:
        self._parts = parts
        self._weights_P = torch.tensor(weights)
        self._tokens_per_step = tokens_per_step
        self._sink = sink
        self._domains = domains
        self._told_of = told_of
        self._pending: list[Tensor] = []
        self._seconds = 0.0
        self._waited = 0.0
        self._first: float | None = None
        self._diverged = False

    def on_start(self, loop: Loop) -> None:
        self._seconds = loop.state.seconds

    def on_step(self, loop: Loop, loss_P: Tensor) -> None:
        self._pending.append(loss_P)
        if loop.state.step % loop.config.log_every == 0 or loop.finished:
            self.flush(loop)

    def flush(self, loop: Loop) -> None:
        """Bring the pending losses to the host, check them and hand them out.

        Raises:
            DivergedError: one of them is not finite; the message names the step.
        """
        if not self._pending:
            return
        loss_SP = loop.engine.sum(torch.stack(self._pending)).cpu()
        self._pending = []
        first = loop.state.step - len(loss_SP) + 1
        loss_S = loss_SP @ self._weights_P
        self._refuse_non_finite(loss_S, first)
        self._note_divergence(loss_S, loop)
        seconds = loop.state.seconds - self._seconds
        waited = loop.data_wait_seconds - self._waited
        self._seconds, self._waited = loop.state.seconds, loop.data_wait_seconds
        rate = len(loss_SP) / max(seconds, 1e-9)
        interactions = rate * self._tokens_per_step
        record: Record = {
            "kind": "train",
            "step": loop.state.step,
            "total_steps": loop.total_steps,
            "epoch": loop.state.step / loop.steps_per_epoch,
            "loss": float(loss_S.mean()),
            "losses": loss_S.tolist(),
            "learning_rate": loop.learning_rate,
            "interactions_per_second": interactions,
            "data_wait": waited / max(seconds, 1e-9),
            "seconds": loop.state.seconds,
            "seconds_left": (loop.total_steps - loop.state.step) / rate,
        } | self._told_of(interactions)
        if len(self._parts) > 1:
            record |= {f"loss_{part}": float(mean) for part, mean in zip(self._parts, loss_SP.mean(0), strict=True)}
        if self._domains and loop.targets_D is not None:
            record["targets"] = dict(zip(self._domains, loop.targets_D.tolist(), strict=True))
            loop.targets_D = None
        self._sink(record)

    def _note_divergence(self, loss_S: Tensor, loop: Loop) -> None:
        """Record, once, that the loss has gone far above where it began: training goes on, and the run says so."""
        mean = float(loss_S.mean())
        self._first = mean if self._first is None else self._first
        if mean > _DIVERGED * self._first and not self._diverged:
            self._diverged = True
            self._sink({"kind": "diverged", "step": loop.state.step, "loss": mean, "first_loss": self._first})

    def _refuse_non_finite(self, loss_S: Tensor, first: int) -> None:
        bad = torch.nonzero(~torch.isfinite(loss_S))
        if len(bad):
            step = first + int(bad[0])
            self._sink(
                {"kind": "diverged", "step": step, "loss": str(float(loss_S[bad[0]])), "first_loss": self._first}
            )
            raise DivergedError(
                f"the loss was {float(loss_S[bad[0]])} at step {step}: training stopped, the last good "
                "checkpoint is kept; try a lower train.learning_rate or train.clip_norm, or precision fp32"
            )


class Epochs(Callback):
    """Before each epoch of a plan that mixes domains: what of each is trained on, repeated and left out."""

    def __init__(self, plan: BatchPlan, sink: Sink) -> None:
        self._plan = plan
        self._sink = sink

    def on_start(self, loop: Loop) -> None:
        if loop.state.step == 0:
            self._tell(loop)

    def on_step(self, loop: Loop, loss_P: Tensor) -> None:
        if loop.state.position.batch == 0 and not loop.finished:
            self._tell(loop)

    def _tell(self, loop: Loop) -> None:
        if self._plan.domains is None:
            return
        epoch = loop.state.position.epoch
        counts = {
            name.removesuffix("_D"): dict(zip(self._plan.domains.names, targets_D.tolist(), strict=True))
            for name, targets_D in self._plan.account(epoch)._asdict().items()
        }
        self._sink({"kind": "epoch", "step": loop.state.step, "epoch": epoch} | counts)


class Validate(Callback):
    """Measures the encoder at intervals, keeps the best weights, and stops when it no longer gets better.

    `sign` is -1 where a smaller value of the metric is better.
    """

    def __init__(
        self,
        measure: Callable[[], dict[str, float]],
        metric: str,
        keep_best: Callable[[], None],
        log: Log,
        sink: Sink,
        sign: int = 1,
    ) -> None:
        self._measure = measure
        self._metric, self._sign = metric, sign
        self._keep_best = keep_best
        self._log = log
        self._sink = sink

    def on_start(self, loop: Loop) -> None:
        loop.stopped = self._no_longer_better(loop)  # it may have stopped before, and be resumed

    def on_step(self, loop: Loop, loss_P: Tensor) -> None:
        if loop.state.step % loop.interval(loop.config.eval_every) == 0 or loop.state.step == loop.total_steps:
            self._validate(loop)

    def on_end(self, loop: Loop) -> None:
        if loop.state.best_metric is None:
            raise DivergedError(f"the validation's {self._metric} was never a number: no weights are known to be good")

    def _no_longer_better(self, loop: Loop) -> bool:
        return loop.config.patience is not None and loop.state.stale_validations >= loop.config.patience

    def _validate(self, loop: Loop) -> None:
        self._log.flush(loop)
        loop.engine.model.eval()
        with loop.paused():
            metrics = self._measure()
        loop.engine.model.train()
        state, value = loop.state, metrics[self._metric]
        # A value that is not a number compares as no better; as the first it must not count as the best either.
        is_best = self._sign * value > (-math.inf if state.best_metric is None else self._sign * state.best_metric)
        if is_best:
            state.best_metric, state.best_step, state.stale_validations = value, state.step, 0
            self._keep_best()
        else:
            state.stale_validations += 1
            loop.stopped = self._no_longer_better(loop)
        told = {"kind": "validation", "step": state.step, "seconds": state.seconds}
        self._sink(told | {"stopped": loop.stopped, "best": is_best} | metrics)


class Save(Callback):
    """Writes a checkpoint at intervals and at the end, never one that holds a non-finite loss.

    `before` makes the records so far durable: a checkpoint must not outlive what led to it.
    """

    def __init__(self, checkpoints: Checkpoints, log: Log, before: Callable[[], None]) -> None:
        self._checkpoints = checkpoints
        self._log = log
        self._before = before

    def on_step(self, loop: Loop, loss_P: Tensor) -> None:
        if loop.state.step % loop.interval(loop.config.checkpoint_every) == 0 or loop.finished:
            self._log.flush(loop)
            self._before()
            self._checkpoints.save(loop.engine, loop.state)
