"""From a log to a measured encoder: prepare, pretrain, evaluate against baselines, report.

Each phase leaves its result in the run folder, and a resumed run goes on from there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.recipe import Recipe
from ray_userrep.training import runs
from ray_userrep.training.distributed import fit_distributed
from ray_userrep.training.fit import load_encoder
from ray_userrep.training.records import progress_line
from ray_userrep.workflows.cluster import connect
from ray_userrep.workflows.evaluate import measure
from ray_userrep.workflows.prepare import open_or_prepare
from ray_userrep.workflows.report import write_report


def run_pretrain(recipe: Recipe) -> None:
    """Pretrain as the recipe says and leave encoder, result.json and report.html in the run folder."""
    run_uri = storage.absolute(recipe.run) if recipe.run else runs.default_uri(recipe)
    recipe = recipe.model_copy(update={"run": run_uri})
    timings: dict[str, float] = {}
    with _timed(timings, "start"):
        connect()
    with runs.Lease(run_uri):
        resumed = runs.open_run(recipe, run_uri)
        print(f"run       {run_uri}" + (" (resumed)" if resumed else ""))
        with _timed(timings, "prepare"):
            corpus = open_or_prepare(recipe)
        with _timed(timings, "train"):
            _fit(recipe, corpus, run_uri)
        with _timed(timings, "evaluate"):
            result = measure(recipe, corpus, load_encoder(run_uri), job="pretrain")
        result["timings"] = timings
        write_report(recipe, corpus, run_uri, result)
        storage.write_json(storage.join(run_uri, runs.RESULT), result)
