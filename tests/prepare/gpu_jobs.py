"""Whole jobs on a Ray that was told of two GPUs that are not there: prints what each task and actor asked for.

python gpu_jobs.py PLACE USE_GPU: the log of the small recipe lies below PLACE; USE_GPU is `null` or `false`.
"""

import json
import sys

import ray
from ray.util.state import list_actors, list_tasks

from ray_userrep.command import parse
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.workflows.embed import run_embed
from ray_userrep.workflows.evaluate import run_evaluate
from ray_userrep.workflows.scale import run_scale
from ray_userrep.workflows.transfer import run_transfer
from tests.workflows.conftest import SMALL, small_recipe

TRANSFER = [
    "--transfer.arms", '["head_only"]', "--transfer.num_seeds", "1", "--transfer.epochs", "1",
    "--transfer.label_shares", "[1.0]", "--transfer.learning_rates", "[0.01]", "--transfer.readouts", '["own"]',
    "--evaluation.baselines", "false", "--evaluation.num_bootstrap", "100",
]  # fmt: skip
STUDY = {"sizes": [800], "data": [300], "seeds": [0], "hold_out": 0, "item_width": 8}


def jobs(place: str, use_gpu: str) -> None:
    """Every job that has work for a GPU, on an encoder that is there."""
    chosen = ["--train.use_gpu", use_gpu, "--transfer.encoder", f"{place}/encoder"]
    recipe = small_recipe(place, *TRANSFER, *chosen)
    run_evaluate(recipe, f"{place}/encoder", f"{place}/evaluation-{use_gpu}")
    run_embed(recipe, f"{place}/encoder", f"{place}/vectors-{use_gpu}")
    run_transfer(recipe.model_copy(update={"run": f"{place}/transfer-{use_gpu}"}))
    words = ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/scale-{use_gpu}", *SMALL]
    run_scale(parse([*words, "--train.use_gpu", use_gpu]), ScaleConfig.model_validate(STUDY))


def asked() -> dict[str, float]:
    """The GPUs that each kind of task and actor asked for."""
    here = ray.get_runtime_context().gcs_address
    found = [(task.name, task.required_resources) for task in list_tasks(here, detail=True, limit=10_000)]
    found += [(actor.class_name, actor.required_resources) for actor in list_actors(here, detail=True)]
    return {name: (resources or {}).get("GPU", 0) for name, resources in found}


if __name__ == "__main__":
    ray.init(
        address="local", num_cpus=2, num_gpus=2, include_dashboard=True, log_to_driver=False, logging_level="ERROR"
    )
    jobs(*sys.argv[1:])
    print(json.dumps(asked()))
