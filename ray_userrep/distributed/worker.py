"""One worker of a run on a cluster: the fit of a rank, with its share of the reading."""

from functools import partial
from typing import Any

import ray.train.torch
import torch

from ray_userrep.corpus.store import open_corpus
from ray_userrep.distributed import zero
from ray_userrep.distributed.buckets import SharedCorpus, SharedWindows, find_homes
from ray_userrep.distributed.notes import say_of_gpu
from ray_userrep.errors import UserError
from ray_userrep.feed.cutting import BucketWindows
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.fit import fit
from ray_userrep.training.ranks import Together


def fit_as_told(job: dict[str, Any]) -> None:
    """Fit as the job says; a refusal is told first, in the words that the caller raises."""
    zero.quiet()
    torch.set_num_threads(job["threads"])
    recipe = Recipe.model_validate_json(job["recipe"])
    device = ray.train.torch.get_device()
    try:
        ranks = Together(zero.ZeroGroup(device))
        homes = None if job["readers"] is None else find_homes(job["readers"], ranks)
        alone = open_corpus(*job["corpus"])
        if device.type == "cuda":
            say_of_gpu(recipe, alone, device, ranks.rank)
        given = (
            recipe,
            alone if homes is None else SharedCorpus(alone, homes),
            job["run"],
            lambda model: zero.ZeroEngine(model, recipe.train, device),
            job["queue"].put,
        )
        if recipe.generates:
            from ray_userrep.generative.fit import fit_text  # seconds of imports that encoders do not need

            fit_text(*given)
        else:
            open_windows = BucketWindows if homes is None else partial(SharedWindows, homes)
            fit(*given, lambda: zero.partitioned_init(recipe.train), zero.unsharded, ranks, open_windows)
    except UserError as error:  # others may wait for this worker: raising ends them
        job["queue"].put({"kind": "error", "type": type(error).__name__, "message": str(error)})
        raise
