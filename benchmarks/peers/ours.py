"""SASRec of this project: the recipe through the bare loop or through Ray, and what happens inside one of its steps.

The job's `measure` says what for: `train` (to the clock's end), `ray` (so many steps on one worker), `flops` (of a
target), `profile` (where a step goes) and `peak` (of matrix products on the same threads).

Shapes: P parts of the objective.
"""

import statistics
import tempfile
import time
from typing import Any

import numpy as np
import torch
from peers.common import Clock, Data, Enough, evaluate, main
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.backbones.transformer import GELU, Attention
from ray_userrep.encoder.layers import Dropout, Norm
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Gather
from ray_userrep.objectives.softmax import ItemSoftmax
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.runs import read_records
from ray_userrep.training.step import TrainModel, Views

_SKIPPED_STEPS, _OBSERVED_STEPS = 20, 100
_SKIPPED_RECORDS = 2
_PARTS: dict[str, tuple[type[nn.Module], ...]] = {
    "attention": (Attention,),
    "feed-forward": (GELU,),
    "norms and dropout": (Norm, Dropout),
    "item softmax": (ItemSoftmax,),
}
_OPTIMISER, _WAIT, _REST = "optimiser", "data (waited for)", "item vectors, residuals, the rest"
_PEAK_SIZE, _PEAK_SECONDS = 2048, 4.0


def train(job: dict[str, Any], data: Data, clock: Clock) -> dict[str, Any]:
    """Whatever the job measures."""
    recipe = Recipe.model_validate_json(job["recipe"])
    job["settings"] = recipe.model_dump(include={"stream", "encoder", "objective", "train"}, mode="json")
    match job["measure"]:
        case "peak":
            return {"flops_per_second": peak_flops()}
        case "ray":
            return through_ray(recipe, job)
        case "flops":
            observer: Observer = Flops()
        case "profile":
            observer = Profile()
        case _:
            observer = Timed(clock, data)
    try:
        bare(recipe, job, observer)
    except Enough:
        return observer.result()
    raise AssertionError("training ended before its time")


class Observer:
    """What is told of each step of the bare loop; it ends training with `Enough`."""

    def on_model(self, model: TrainModel) -> None:
        """Before the first step."""

    def on_step(self, targets: int) -> None:
        """After each step."""

    def result(self) -> dict[str, Any]:
        """What was found; nothing, unless an observer says otherwise."""
        return {}


class Observed(BareEngine):
    """The bare engine, watched: targets are those of the batch, which the loop counts for its loss."""

    def __init__(self, model: TrainModel, recipe: Recipe, observer: Observer) -> None:
        super().__init__(model, recipe.train, torch.device("cpu"))
        self._observer = observer
        self._targets = 0
        self._waiting: record_function | None = None
        observer.on_model(model)

    def forward(self, views: Views, counts_P: Tensor, gather: Gather) -> tuple[Tensor, Tensor]:
        if self._waiting is not None:
            self._waiting.__exit__(None, None, None)
            self._waiting = None
        self._targets = int(counts_P.sum())
        return super().forward(views, counts_P, gather)

    def step(self, learning_rate: float) -> Tensor:
        with record_function(_OPTIMISER):
            norm = super().step(learning_rate)
        self._observer.on_step(self._targets)
        self._waiting = record_function(_WAIT)
        self._waiting.__enter__()
        return norm


def bare(recipe: Recipe, job: dict[str, Any], observer: Observer) -> None:
    """The bare loop, until the observer ends it."""
    with tempfile.TemporaryDirectory() as run:
        fit(recipe, open_corpus(job["corpus"]), run, lambda m: Observed(m, recipe, observer), lambda record: None)


class Timed(Observer):
    """Hands the steps to the clock."""

    def __init__(self, clock: Clock, data: Data) -> None:
        self._clock = clock
        self._data = data

    def on_model(self, model: TrainModel) -> None:
        self._clock.evaluate = lambda: evaluated(model.encoder, self._data)
        self._clock.start()

    def on_step(self, targets: int) -> None:
        self._clock.step(targets)

    def result(self) -> dict[str, Any]:
        return self._clock.result()


def evaluated(encoder: UserEncoder, data: Data) -> float:
    """NDCG@10 with the weights of this moment."""

    def scores(histories: list[np.ndarray]) -> Tensor:
        return encoder(Batch.of(histories)) @ encoder.items(None).T

    return evaluate(encoder, data, np.arange(data.num_items), 0, scores)


def through_ray(recipe: Recipe, job: dict[str, Any]) -> dict[str, Any]:
    """The same steps on one worker of Ray Train, with DeepSpeed; the median of its records after warm-up."""
    from ray_userrep.distributed.workers import fit_distributed
    from ray_userrep.logs.connection import connect

    connect()
    update = {"max_steps": job["steps"], "num_workers": 1, "cpus_per_worker": job["threads"]}
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=update)})
    with tempfile.TemporaryDirectory() as run:
        fit_distributed(recipe, open_corpus(job["corpus"]), run, lambda record: None)
        records = [r for r in read_records(run) if r["kind"] == "train"][_SKIPPED_RECORDS:]
    return {"targets_per_second": statistics.median(record["interactions_per_second"] for record in records)}


class Flops(Observer):
    """Floating-point operations of a target's matrix products, forward and backward, counted over a few steps."""

    def __init__(self) -> None:
        self._counter = FlopCounterMode(display=False, custom_mapping=_OVERLOOKED)
        self._steps = self._targets = 0

    def on_step(self, targets: int) -> None:
        if self._steps == 0:  # what is measured before the first step is no part of one
            self._counter.__enter__()
        else:
            self._targets += targets
        self._steps += 1
        if self._steps == _SKIPPED_STEPS:
            self._counter.__exit__(None, None, None)
            raise Enough

    def result(self) -> dict[str, Any]:
        return {"flops_per_target": self._counter.get_total_flops() / self._targets}


def _added_product(total: Any, a: Any, b: Any, **_: Any) -> int:
    return int(2 * a[0] * a[1] * b[1])


def _causal_attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v) // 2  # of each square, only the half that is seen


def _causal_attention_backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v) // 2


# What the counter does not know: products added in place, and the attention kernels of a CPU.
_OVERLOOKED = {
    torch.ops.aten.addmm_: _added_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _causal_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _causal_attention_backward,
}


class Profile(Observer):
    """Seconds of a step by part, forward and backward, from ranges around the modules of each part."""

    def __init__(self) -> None:
        self._profiler = profile(activities=[ProfilerActivity.CPU], acc_events=True)
        self._steps = 0
        self._began = 0.0
        self._seconds = 0.0

    def on_model(self, model: TrainModel) -> None:
        for part, kinds in _PARTS.items():
            for module in model.modules():
                if isinstance(module, kinds):
                    mark(module, part)

    def on_step(self, targets: int) -> None:
        self._steps += 1
        if self._steps == _SKIPPED_STEPS:
            self._profiler.start()
            self._began = time.perf_counter()
        elif self._steps == _SKIPPED_STEPS + _OBSERVED_STEPS:
            self._seconds = time.perf_counter() - self._began
            self._profiler.stop()
            raise Enough

    def result(self) -> dict[str, Any]:
        names = (*_PARTS, _OPTIMISER, _WAIT)
        found = {event.key: event.cpu_time_total / 1e6 for event in self._profiler.key_averages() if event.key in names}
        parts = {name: found.get(name, 0.0) for name in names}
        parts[_REST] = max(0.0, self._seconds - sum(parts.values()))
        return {"step_ms": {name: seconds / _OBSERVED_STEPS * 1e3 for name, seconds in parts.items()}}


def mark(module: nn.Module, part: str) -> None:
    """A range around the module's forward and around its backward."""
    open_ranges: list[record_function] = []

    def enter(*_: Any) -> None:
        open_ranges.append(record_function(part))
        open_ranges[-1].__enter__()

    def leave(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)
    module.register_full_backward_pre_hook(enter)
    module.register_full_backward_hook(leave)


def peak_flops() -> float:
    """The best that a large matrix product reaches here."""
    a, b = torch.randn(2, _PEAK_SIZE, _PEAK_SIZE)
    seconds, until = [], time.perf_counter() + _PEAK_SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - began)
    return 2 * _PEAK_SIZE**3 / statistics.median(seconds)


if __name__ == "__main__":
    main(train, ("ray_userrep", "ray", "deepspeed", "transformers"))
