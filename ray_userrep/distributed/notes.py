"""What a training says before its first step: what the corpus rejected, what may cost time, what may not fit."""

import torch

from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.gauges import show_quarantined
from ray_userrep.logs.connection import nodes
from ray_userrep.planner.room import Room, tight
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig

_HALF_ON_CPU = {("avx512_bf16", True), ("amx_bf16", True), ("bf16", True)}  # of Intel, AMD and Arm


def say_first(recipe: Recipe, corpus: Corpus, use_gpu: bool) -> None:
    """Show what the corpus rejected, and say what may cost time or not fit.

    Raises:
        UserError: there is no room for the model.
    """
    show_quarantined(corpus.uri, corpus.manifest.quarantined)
    no_room = None if use_gpu or recipe.generates else _room(recipe, corpus)
    for told in filter(None, [slow_precision(recipe.train, use_gpu), no_room]):
        print(f"note      {told}", flush=True)


def _room(recipe: Recipe, corpus: Corpus) -> str | None:
    """What is said of a model on the largest of the nodes that there are; one without cores brings others later."""
    working = [node for node in nodes() if node.get("CPU", 0) > 0]
    if not working:
        return None
    largest = int(max(node.get("memory", 0) + node.get("object_store_memory", 0) for node in working))
    beside = -(-recipe.train.num_workers // len(working))
    return tight(recipe, corpus.manifest.num_items, Room(largest, beside))


def say_of_gpu(recipe: Recipe, corpus: Corpus, device: torch.device, rank: int) -> None:
    """Say what may not fit on a worker's GPU; the first of them says it.

    Raises:
        UserError: there is no room for the model.
    """
    room = Room(torch.cuda.get_device_properties(device).total_memory, is_gpu=True)
    told = None if recipe.generates else tight(recipe, corpus.manifest.num_items, room)
    if told is not None and rank == 0:
        print(f"note      {told}", flush=True)


def slow_precision(config: TrainConfig, use_gpu: bool) -> str | None:
    """What to say of a precision that may cost time rather than save it, if anything."""
    if config.precision == "fp32" or use_gpu or _HALF_ON_CPU & torch.cpu.get_capabilities().items():
        return None
    return (
        "train.precision bf16 is slower than fp32 on processors without instructions for it (avx512_bf16), as this one "
        "is: compare the interactions/s of a few steps of each"
    )
