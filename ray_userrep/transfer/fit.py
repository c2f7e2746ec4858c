"""One arm fitted to one task: the training loop of pretraining, with the task's objective over the arm's encoder.

A fit has a folder of its own and leaves what it predicted there: a comparison that was cut short goes on behind the
fits that are done. What it trained stays there too, until somebody drops it: a comparison makes many.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from ray_userrep import storage
from ray_userrep.corpus import draws
from ray_userrep.corpus.splits import SplitPart
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.objectives.base import Objective
from ray_userrep.recipe.encoder import ReadoutKind
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.best import drop_best, keep_best, read_best
from ray_userrep.training.fit import EngineFactory, Goal, train
from ray_userrep.training.loop import TrainState
from ray_userrep.training.step import Engine, TrainModel
from ray_userrep.transfer.arms.base import Arm, ParameterCounts, Usage, count_parameters, freeze
from ray_userrep.transfer.tasks.base import Task, headline, headline_sign

_OUTCOME, _PREDICTED = "outcome.json", "predicted.safetensors"
_TEST: SplitPart = "test"
_HEAD = 44  # what a draw is for


class FitSpec(NamedTuple):
    """Which fit of a comparison it is."""

    share: float
    seed: int
    learning_rate: float
    readout: ReadoutKind | None = None  # None: the encoder's own


class Outcome(NamedTuple):
    """What came of a fit: the validation figure that its weights were kept by, its cost, and its test predictions."""

    validation: float
    best_step: int
    steps: int
    seconds: float
    learning_rate: float
    readout: ReadoutKind
    size: ParameterCounts
    usage: Usage
    predicted_U: NDArray[Any]


def fit_task(
    recipe: Recipe,
    corpus: Corpus,
    encoder: UserEncoder,
    task: Task,
    arm: Arm,
    fit: FitSpec,
    fit_uri: str,
    make_engine: Callable[[Recipe], EngineFactory],
) -> Outcome:
    """Adapt an encoder to a task and predict its test users; a fit that is done is only read.

    Raises:
        UserError: the arm has no place in the encoder, the task has too few users, training diverged, or a fit that is
            done was of other data.
    """
    if storage.exists(storage.join(fit_uri, _OUTCOME)):
        return _read(fit_uri, task.data(fit.share))
    recipe = fitted_recipe(recipe, encoder, task, fit)
    model, parameters = build_transfer(recipe, encoder, task, arm, fit.share, fit.readout)
    engine = make_engine(recipe)(model)
    state = adapt(recipe, corpus, engine, task, fit.share, fit_uri)
    with arm.watching(model.encoder) as usage:
        predicted_U = _predict(engine, task, _TEST)
    assert state.best_metric is not None
    outcome = Outcome(
        validation=state.best_metric,
        best_step=state.best_step,
        steps=state.step,
        seconds=state.seconds,
        learning_rate=fit.learning_rate,
        readout=model.encoder.readout,
        size=parameters,
        usage=usage,
        predicted_U=predicted_U,
    )
    _write(fit_uri, task.data(fit.share), outcome)
    return outcome


def adapt(recipe: Recipe, corpus: Corpus, engine: Engine, task: Task, share: float, fit_uri: str) -> TrainState:
    """Train what a task trains, resuming where that was begun, and leave the best weights in the engine's model."""
    state = train(recipe, corpus, fit_uri, engine, _goal(engine, task, share, fit_uri), lambda record: None)
    _load_best(engine, fit_uri)
    return state


def fitted_recipe(recipe: Recipe, encoder: UserEncoder, task: Task, fit: FitSpec) -> Recipe:
    """The recipe that one fit is trained by."""
    config = recipe.transfer
    train = {
        "epochs": config.epochs,
        "min_steps": config.min_steps,
        "max_steps": None,
        "patience": config.patience,
        "learning_rate": fit.learning_rate,
        "item_learning_rate": None,
        "weight_decay": config.weight_decay,
        "warm_start": None,
        "eval_every": 1.0,
        "checkpoint_every": config.epochs,
        "keep_checkpoints": 1,
    }
    stream = {
        "windows": task.windows,
        "max_len": encoder.max_len,
        "batch_tokens": max(config.batch_tokens, encoder.max_len),
        "domain_temperature": 1.0,
    }
    changes = {"train": recipe.train.model_copy(update=train), "stream": recipe.stream.model_copy(update=stream)}
    return recipe.model_copy(update=changes | {"seed": fit.seed})


def build_transfer(
    recipe: Recipe, encoder: UserEncoder, task: Task, arm: Arm, share: float, readout: ReadoutKind | None = None
) -> tuple[TrainModel, ParameterCounts]:
    """The adapted encoder under the task's objective, with only what trains left to the optimiser."""
    torch.manual_seed(recipe.seed)
    adapted = arm.apply(encoder).train()
    adapted.read_at(readout or encoder.readout)
    torch.manual_seed(draws.seed_of(_HEAD, recipe.seed))  # arms that draw more or less begin with the same head
    objective = task.objective(adapted, share, arm.head)
    freeze(adapted, arm, task)
    return TrainModel(adapted, objective, recipe.train), count_parameters(encoder, adapted, objective)


def adapted_model(
    recipe: Recipe, encoder: UserEncoder, task: Task, arm: Arm, fit: FitSpec, fit_uri: str
) -> tuple[UserEncoder, Objective]:
    """What a finished fit of a `mergeable` arm made of an encoder, in plain weights, and the objective with its head.

    The fit's weights must not be dropped yet.
    """
    recipe = fitted_recipe(recipe, encoder, task, fit)
    model, _ = build_transfer(recipe, encoder, task, arm, fit.share, fit.readout)
    _load_into(model, fit_uri)
    return arm.merged(model.encoder).eval(), model.objective.eval()


def drop_weights(fit_uri: str) -> None:
    """Delete what a fit trained; its figures and predictions stay."""
    drop_best(fit_uri)


def _goal(engine: Engine, task: Task, share: float, fit_uri: str) -> Goal:
    truth_U, metric, sign = task.truth("valid"), headline(task), headline_sign(task)

    def measure() -> dict[str, float]:
        predicted_U = _predict(engine, task, "valid")
        return {name: measure(truth_U, predicted_U) for name, measure in task.measures.items()}

    return Goal(task.cut(share), task.data(share), metric, measure, lambda: _keep_best(engine, fit_uri), sign)


def _predict(engine: Engine, task: Task, part: SplitPart) -> NDArray[Any]:
    engine.model.eval()
    return task.predict(engine.model.encoder, engine.model.objective, part)


def _keep_best(engine: Engine, fit_uri: str) -> None:
    """Keep what has trained so far; the rest is where it was."""
    keep_best(fit_uri, {name: p.detach().cpu() for name, p in _trained(engine.model)})


def _load_best(engine: Engine, fit_uri: str) -> None:
    _load_into(engine.model, fit_uri)


def _load_into(model: TrainModel, fit_uri: str) -> None:
    best = read_best(fit_uri)
    with torch.no_grad():
        for name, tensor in _trained(model):
            tensor.copy_(best[name])


def _trained(model: TrainModel) -> list[tuple[str, torch.Tensor]]:
    """What trains: parameters, and tables of rows, which are none."""
    modules = model.encoder.named_modules()
    tables = [(f"encoder.{name}.weight", table.weight) for name, table in modules if isinstance(table, RowItems)]
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad] + tables


def _write(fit_uri: str, data: str, outcome: Outcome) -> None:
    storage.write_bytes(
        storage.join(fit_uri, _PREDICTED), save_arrays({_TEST: np.ascontiguousarray(outcome.predicted_U)})
    )
    figures = {name: value for name, value in outcome._asdict().items() if name != "predicted_U"}
    storage.write_json(storage.join(fit_uri, _OUTCOME), figures | {"size": outcome.size._asdict(), "data": data})
    storage.delete(storage.join(fit_uri, "checkpoints"))


def _read(fit_uri: str, data: str) -> Outcome:
    figures = storage.read_json(storage.join(fit_uri, _OUTCOME))
    refuse_other_data(fit_uri, figures.pop("data"), data)
    predicted_U = load_arrays(storage.read_bytes(storage.join(fit_uri, _PREDICTED)))[_TEST]
    return Outcome(**(figures | {"size": ParameterCounts(**figures["size"])}), predicted_U=predicted_U)


def refuse_other_data(fit_uri: str, before: str, now: str) -> None:
    """Refuse to take what was fitted to some data for what would be fitted to those that there are now.

    Raises:
        UserError: they differ.
    """
    if before != now:
        raise UserError(
            f"{fit_uri} was fitted to other users or labels than there are now: the log or the table of labels has "
            "changed since, name another run with --run"
        )
