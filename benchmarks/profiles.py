"""Where a step goes, by part of the model, and where it went before: pictures of two recipes at two commits.

    python benchmarks/profiles.py --data ../shared/data [--steps 40]
    PYTHONPATH=OLDER_CHECKOUT python benchmarks/profiles.py --data ../shared/data [--steps 40]

The default recipe on its log, and the widest one that is measured for accuracy (256 numbers, 1,024 sampled negatives)
on Amazon Beauty, by the bare loop on one thread. The first command measures the package beside this file; the second
one another, of which the figures go beside. They go to benchmarks/results/profiles.json by commit, and the oldest and
the newest of them to docs/images/profiles.png. Ranges around modules cost a little time themselves.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accuracy import amazon
from matplotlib.figure import Figure
from peers.inside import picture
from peers.ours import mark
from running import IMAGES, RESULTS
from throughput import timed_recipe
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

import ray_userrep
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.backbones.transformer import GELU, Attention, SwiGLU
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.layers import Dropout, Norm
from ray_userrep.logs.connection import connect
from ray_userrep.objectives.softmax import ItemSoftmax
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.online_retail import online_retail
from ray_userrep.report.figures import save
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.runs import environment
from ray_userrep.training.step import TrainModel
from ray_userrep.workflows.prepare import open_or_prepare

RESULT = RESULTS / "profiles.json"
PARTS = {
    "attention": (Attention,),
    "feed-forward": (GELU, SwiGLU),
    "norms and dropout": (Norm, Dropout),
    "item vectors": (ItemEmbedder,),
    "item softmax": (ItemSoftmax,),
}
OPTIMISER, REST, SKIPPED = "optimiser", "residuals, data, the rest", 10


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--steps", type=int, default=40)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: profiled(recipe, Path(folder) / name, options) for name, recipe in recipes(options.data).items()}
    kept: list[dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.exists() else []
    commit, date = measured_commit()
    told = {"commit": commit, "date": date, "load": load, "steps": options.steps, "step_ms": found}
    others = [one for one in kept if one["commit"] != commit]
    kept = sorted([*others, told | {"environment": environment(use_gpu=False)}], key=lambda one: one["date"])
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    save(drawing(kept), IMAGES / "profiles.png")
    print(json.dumps(found, indent=1))


def recipes(data: Path) -> dict[str, Recipe]:
    """The default recipe and the widest, each with its log."""
    return {
        "default": with_values(online_retail(), {"logs.uri": str(data / "online-retail")}),
        "widest": with_values(amazon(), {"logs.uri": str(data / "amazon-2014-Beauty")}),
    }


def profiled(recipe: Recipe, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step by part."""
    timed = timed_recipe(with_values(recipe, {"corpus.uri": str(folder / "corpus")}), options.steps + SKIPPED)
    connect()
    corpus: Corpus = open_or_prepare(timed)
    engines: list[Watched] = []

    def watched(model: TrainModel) -> Watched:
        engines.append(Watched(model, timed))
        return engines[0]

    fit(timed, corpus, str(folder / "run"), watched, lambda record: None)
    return engines[0].parts(options.steps)


class Watched(BareEngine):
    """The bare engine with ranges around parts; the profiler starts once memory is there."""

    def __init__(self, model: TrainModel, recipe: Recipe) -> None:
        super().__init__(model, recipe.train, torch.device("cpu"))
        self._profiler, self._steps, self._until = profile(activities=[ProfilerActivity.CPU]), 0, recipe.train.max_steps
        for part, kinds in PARTS.items():
            for module in model.modules():
                if isinstance(module, kinds):
                    mark(module, part)

    def step(self, learning_rate: float) -> Tensor:
        with record_function(OPTIMISER):
            norm = super().step(learning_rate)
        self._steps += 1
        if self._steps == SKIPPED:
            self._profiler.start()
            self._began = time.perf_counter()
        elif self._steps == self._until:
            self._seconds = time.perf_counter() - self._began
            self._profiler.stop()
        return norm

    def parts(self, steps: int) -> dict[str, float]:
        """Milliseconds of each part of a step, and of what is left."""
        names = (*PARTS, OPTIMISER)
        spent = {event.key: event.cpu_time_total for event in self._profiler.key_averages() if event.key in names}
        found = {name: spent.get(name, 0.0) / 1e3 / steps for name in names}
        return found | {REST: max(0.0, self._seconds / steps * 1e3 - sum(found.values()))}


def measured_commit() -> tuple[str, str]:
    """Commit of the package that is measured, and its time."""
    here = Path(ray_userrep.__file__).parent
    told = subprocess.run(
        ["git", "show", "-s", "--format=%h %cI"], cwd=here, capture_output=True, text=True, check=True
    )
    commit, date = told.stdout.split()
    return commit, date


def drawing(kept: list[dict[str, Any]]) -> Figure:
    """Two bars for each recipe."""
    ends = [kept[0], kept[-1]] if len(kept) > 1 else kept
    bars = {f"{name}, {one['commit']}": one["step_ms"][name] for name in ends[0]["step_ms"] for one in ends}
    return picture(bars)


if __name__ == "__main__":
    main()
