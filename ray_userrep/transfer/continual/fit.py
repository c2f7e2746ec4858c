"""A sequence of tasks learned by one method, each task by the training loop of pretraining.

    <method>/2-gender/train/, retrain/    what the loop leaves of each phase
    <method>/2-gender/kept.safetensors    what the task leaves behind: weights, heads, owners
    <method>/2-gender/predicted.safetensors    the test users of all tasks so far, by the model of that time
    <method>/2-gender/outcome.json        written last: the task is done

A sequence that was cut short goes on with the task that is not done, from its newest checkpoint. Each task leaves a
copy of the backbone, so that every time of the sequence can be gone back to.

Shapes: U users.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.best import drop_best
from ray_userrep.training.fit import EngineFactory
from ray_userrep.training.step import TrainModel
from ray_userrep.transfer.continual.masks import Owners, claim, free_owners, owned_until, unmask
from ray_userrep.transfer.continual.methods import (
    Kept,
    Method,
    Stage,
    Trained,
    encoder_of,
    head_of,
    trained_along,
    trained_by,
)
from ray_userrep.transfer.continual.together import Together, task_heads
from ray_userrep.transfer.fit import FitSpec, adapt, build_transfer, fitted_recipe, refuse_other_data
from ray_userrep.transfer.tasks.base import HeadShape, Task
from ray_userrep.transfer.tasks.next_item import NextItemTask

_OUTCOME, _KEPT, _PREDICTED = "outcome.json", "kept.safetensors", "predicted.safetensors"
_ALL = 1.0  # the share of labels
_TRAIN, _RETRAIN = "train", "retrain"

MakeEngine = Callable[[Recipe], EngineFactory]


class Learned(NamedTuple):
    """A task of the sequence: what it left, its cost, and what was predicted then for it and each task before it."""

    kept: Kept
    validation: float
    steps: int
    seconds: float
    predicted: list[NDArray[Any]]


class _Phase(NamedTuple):
    """What one phase of a task came to: encoder and head with their best weights, and what trained of the encoder."""

    encoder: UserEncoder
    head: dict[str, Tensor]
    own: dict[str, Tensor]
    validation: float
    steps: int
    seconds: float


def learn_sequence(
    recipe: Recipe,
    stages: list[Stage],
    corpora: list[Corpus],
    method: Method,
    seed_uri: str,
    make_engine: MakeEngine,
    on_learned: Callable[[Stage, Learned], None],
) -> list[Learned]:
    """Learn the tasks one after the other; those that are done are only read.

    Raises:
        UserError: the method has no place in the encoder, training diverged, or what is done was of other data.
    """
    learned: list[Learned] = []
    for number, (stage, corpus) in enumerate(zip(stages, corpora, strict=True)):
        # Methods without masks begin alike: their first task is learned once.
        folder = method.name if number or method.masks else "first"
        uri = storage.join(seed_uri, folder, f"{number + 1}-{stage.name}".replace(" ", "_"))
        if not storage.exists(storage.join(uri, _OUTCOME)):
            kept = [one.kept for one in learned]
            _write(uri, stage.task.data(_ALL), _learn(recipe, stages, corpus, method, kept, uri, make_engine))
        learned.append(_read(uri, stage.task.data(_ALL)))
        on_learned(stage, learned[-1])
    return learned


def predict(method: Method, stages: list[Stage], kept: list[Kept], number: int) -> NDArray[Any]:
    """What a task that was learned predicts of its test users, after the tasks that are kept."""
    encoder = encoder_of(method, stages, kept, number)
    task = stages[number].task
    objective = task.objective(encoder, _ALL, HeadShape()).to(encoder.device).eval()
    objective.load_state_dict(head_of(kept, number))
    return task.predict(encoder, objective, "test")


def stage_recipe(recipe: Recipe, encoder: UserEncoder, task: Task, epochs: float) -> Recipe:
    """The recipe of a phase: a next-item task is trained as the recipe trains, an attribute as it transfers."""
    (learning_rate,) = recipe.transfer.learning_rates
    fitted = fitted_recipe(recipe, encoder, task, FitSpec(_ALL, recipe.seed, learning_rate))
    train, stream = fitted.train, fitted.stream
    if isinstance(task.newest if isinstance(task, Together) else task, NextItemTask):
        train = recipe.train.model_copy(update={"warm_start": None, "eval_every": 1.0, "keep_checkpoints": 1})
        stream = recipe.stream
    train = train.model_copy(update={"epochs": epochs * train.epochs, "checkpoint_every": 1.0})
    return fitted.model_copy(update={"train": train, "stream": stream})


def _learn(
    recipe: Recipe,
    stages: list[Stage],
    corpus: Corpus,
    method: Method,
    kept: list[Kept],
    uri: str,
    make_engine: MakeEngine,
) -> Learned:
    """The phases of the next task, and what all tasks so far predict behind it."""
    number, task = len(kept), stages[len(kept)].task
    along = trained_along(method, stages, number)
    if along:
        task = Together(task, [stages[old].task for old in along])
    start, trains = encoder_of(method, stages, kept, number), trained_by(method, stages, number)
    owners = (kept[-1].owners if kept else free_owners(start)) if method.masks else {}
    free = {name: owner == 0 for name, owner in owners.items()}
    phase = _phase(recipe, corpus, task, start, Trained(trains, free), {}, 1.0, f"{uri}/{_TRAIN}", make_engine)
    steps, seconds = phase.steps, phase.seconds
    if method.masks:
        owners = claim(phase.own, owners, recipe.continual.prune, number + 1)
        _prune(phase.encoder, owners, number + 1)
        mine, retrain = {name: owner == number + 1 for name, owner in owners.items()}, recipe.continual.retrain
        arm = Trained(trains, mine)
        phase = _phase(recipe, corpus, task, phase.encoder, arm, phase.head, retrain, f"{uri}/{_RETRAIN}", make_engine)
        steps, seconds = steps + phase.steps, seconds + phase.seconds
    heads = task_heads(phase.head, [number, *along]) if along else {f"{number}/{n}": v for n, v in phase.head.items()}
    kept = [*kept, Kept(phase.own, heads, owners)]
    predicted = [predict(method, stages, kept, old) for old in range(number + 1)]
    return Learned(kept[-1], phase.validation, steps, seconds, predicted)


def _phase(
    recipe: Recipe,
    corpus: Corpus,
    task: Task,
    start: UserEncoder,
    arm: Trained,
    head: dict[str, Tensor],
    epochs: float,
    uri: str,
    make_engine: MakeEngine,
) -> _Phase:
    """Train what the arm names, from an encoder and, where it is not empty, from a head."""
    fitted = stage_recipe(recipe, start, task, epochs)
    model, _ = build_transfer(fitted, start, task, arm, _ALL)
    if head:
        model.objective.load_state_dict(head)
    state = adapt(fitted, corpus, make_engine(fitted)(model), task, _ALL, uri)
    assert state.best_metric is not None
    unmask(model.encoder)
    return _Phase(model.encoder, _head(model), _own(model), state.best_metric, state.step, state.seconds)


def _own(model: TrainModel) -> dict[str, Tensor]:
    return {name: p.detach().cpu().clone() for name, p in model.encoder.named_parameters() if p.requires_grad}


def _head(model: TrainModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.objective.state_dict().items()}


def _prune(encoder: UserEncoder, owners: Owners, task: int) -> None:
    """Set to zero what neither the task nor one before it owns."""
    state = encoder.state_dict()
    encoder.load_state_dict(state | {name: owned_until(state[name].cpu(), o, task) for name, o in owners.items()})


def _write(uri: str, data: str, learned: Learned) -> None:
    groups = learned.kept._asdict()
    tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    storage.write_bytes(storage.join(uri, _KEPT), save_tensors(tensors))
    predicted = {str(old): np.ascontiguousarray(found) for old, found in enumerate(learned.predicted)}
    storage.write_bytes(storage.join(uri, _PREDICTED), save_arrays(predicted))
    figures = {name: getattr(learned, name) for name in ("validation", "steps", "seconds")}
    storage.write_json(storage.join(uri, _OUTCOME), figures | {"data": data})
    for phase in (_TRAIN, _RETRAIN):
        storage.delete(storage.join(uri, phase, "checkpoints"))
        drop_best(storage.join(uri, phase))


def _read(uri: str, data: str) -> Learned:
    figures = storage.read_json(storage.join(uri, _OUTCOME))
    refuse_other_data(uri, figures.pop("data"), data)
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in Kept._fields}
    for key, value in load_tensors(storage.read_bytes(storage.join(uri, _KEPT))).items():
        group, name = key.split("/", 1)
        groups[group][name] = value
    predicted = load_arrays(storage.read_bytes(storage.join(uri, _PREDICTED)))
    in_order = [predicted[str(old)] for old in range(len(predicted))]
    return Learned(Kept(**groups), predicted=in_order, **figures)
