"""What a rank's DeepSpeed engine really holds; a test runs it on ranks.

Bytes are those of all tensors that the engine brought to life, each storage once, with gradients made and the optimiser
stepped once: the fullest moment beside activations.
"""

import gc
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from ray_userrep.corpus.items import ItemTable
from ray_userrep.distributed import zero
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.step import TrainModel

NUM_ITEMS = 50
SIZES = ((64, 4), (96, 8), (128, 12))  # width and layers
STAGES = (0, 1, 2, 3)
TABLE = ItemTable(pa.table({"item_id": np.arange(NUM_ITEMS), "count": np.ones(NUM_ITEMS, np.int64)}))


def recipe_of(size: tuple[int, int], stage: int) -> Recipe:
    width, layers = size
    encoder = {"width": width, "backbone": {"kind": "transformer", "num_layers": layers}}
    return Recipe.model_validate({"name": "states", "encoder": encoder, "train": {"zero": {"stage": stage}}})


def storages(model: torch.nn.Module | None = None) -> dict[int, int]:
    """Bytes of each storage that a tensor holds, by its place."""
    tensors = [one for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    tensors += [p.grad for p in (model.parameters() if model is not None else []) if p.grad is not None]
    found = [t.untyped_storage() for t in tensors if t.device.type == "cpu" and t.layout == torch.strided]
    return {storage.data_ptr(): storage.nbytes() for storage in found if storage.nbytes()}


def measured(size: tuple[int, int], stage: int) -> int:
    """Bytes of the model's states on this rank."""
    recipe = recipe_of(size, stage)
    before = set(storages())
    torch.manual_seed(0)
    encoder = build_encoder(recipe.encoder, TABLE, 8)
    model = TrainModel(
        encoder, build_objective(recipe.objective, recipe.encoder, ObjectiveData(TABLE, (), TABLE.counts))
    )
    engine = zero.ZeroEngine(model, recipe.train, torch.device("cpu"))
    views = engine.model.objective.views(Batch.of([[1, 2, 3, 4]]), Draws(0, 0, 0))
    for step in range(2):
        loss, _ = engine.forward(views, torch.ones(1), engine.model.gather)
        engine.backward(loss)
        del loss
        if step == 0:
            engine.step(1e-3)
    gc.collect()
    held = {place: size for place, size in storages(engine.model).items() if place not in before}
    # Buckets are of a fixed size, whatever the model: they are planned apart.
    return sum(size for size in held.values() if size < 4 * 10**8)


def measure(folder: Path) -> None:
    """Writes rank 0's bytes by size and stage."""
    zero.quiet()
    told = [{"size": size, "stage": stage, "bytes": measured(size, stage)} for size in SIZES for stage in STAGES]
    if dist.get_rank() == 0:
        (folder / "states.json").write_text(json.dumps(told))
