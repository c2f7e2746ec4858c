"""The fits of a comparison side by side: a Ray task each, on a core of its own or on a GPU where the cluster has one.

Outcomes come in the order that was asked for, so that what is kept does not depend on which fit was done first; until
its turn comes, what a fit trained lies in the run folder. Costs are measured with other fits beside, the same for all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.prepare.devices import Device, device_of_task, gpus_asked
from ray_userrep.prepare.stages import plain_errors
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import EngineFactory
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.fit import FitSpec, Outcome, fit_task
from ray_userrep.transfer.tasks.base import Task


class Setting(NamedTuple):
    """What the fits of a task have in common; their seeds take the pretrained encoders in turn."""

    recipe: Recipe
    corpus: Corpus
    encoders: Sequence[UserEncoder]
    task: Task
    run_uri: str

    def pretraining(self, seed: int) -> int:
        """Which of the encoders a seed's fits start from."""
        return (seed - self.recipe.seed) % len(self.encoders)

    def place(self, arm: Arm, fit: FitSpec) -> str:
        """The folder of a fit."""
        which = f"share-{fit.share:g}/seed-{fit.seed}/rate-{fit.learning_rate:g}-{fit.readout}"
        return storage.join(self.run_uri, "fits", f"{self.task.name}/{arm.name}/{which}".replace(" ", "_"))


@contextmanager
def fitted(setting: Setting, asked: Sequence[tuple[Arm, FitSpec]]) -> Iterator[Iterator[Outcome]]:
    """The outcomes of the fits that are asked for, in their order.

    After an error the others go on until the job ends, which is at once where it is a process of its own: to cancel
    tasks that are just being done makes Ray 2.60 abort the driver (`Tried to complete task that was not pending`).

    Raises:
        UserError: an arm has no place in the encoder, the task has too few users, or training diverged.
    """
    train = setting.recipe.train
    num_gpus = gpus_asked(train.use_gpu)
    remote = ray.remote(_fit).options(num_cpus=train.cpus_per_worker or 1, num_gpus=num_gpus)
    on_host = [copied(encoder).to("cpu") for encoder in setting.encoders]  # type: ignore[arg-type]
    shared = [ray.put(setting._replace(encoders=[encoder])) for encoder in on_host]
    waiting = [remote.remote(shared[setting.pretraining(fit.seed)], arm, fit, num_gpus) for arm, fit in asked]
    with plain_errors():
        yield (ray.get(one) for one in waiting)


def _fit(setting: Setting, arm: Arm, fit: FitSpec, num_gpus: float) -> Outcome:
    recipe, corpus, (encoder,), task, _ = setting
    device = device_of_task(num_gpus)
    encoder.to(device)  # type: ignore[arg-type]
    make_engine = partial(bare_engine, device=device)
    return fit_task(recipe, corpus, encoder, task, arm, fit, setting.place(arm, fit), make_engine)


def bare_engine(recipe: Recipe, device: Device) -> EngineFactory:
    """Plain torch on a device."""
    return lambda model: BareEngine(model, recipe.train, torch.device(device))
