"""The points of a study: which recipe is trained on how much, under names that stay the same when a study grows.

What is not compared is the same everywhere: catalogue, validation users, item-table width, objective. Data are varied
by the share of the users that are trained on; what goes beyond the corpus is further epochs, which is said.

Shapes: W windows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.errors import UserError
from ray_userrep.planner.accounting import Catalogue, Cost, training_cost
from ray_userrep.planner.ladder import BackboneShape, settings, shape_of
from ray_userrep.recipe.corpus import ColdUserConfig
from ray_userrep.recipe.encoder import EncoderConfig, ProjectedItemsConfig
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.objective import AutoregressiveConfig, ContrastiveConfig, FullSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig

Kind = Literal["grid", "isoflop", "length", "batch", "tune"]
LAW: tuple[Kind, ...] = ("grid", "isoflop")  # points that the law is fitted to
_SHARES = (0.125, 0.25, 0.5, 1.0)
_CHECKPOINTS = 4  # a run


class StudyData(NamedTuple):
    """What a study needs to know of the corpus: interactions of an epoch, window lengths of some, and the catalogue."""

    interactions: int
    lengths_W: NDArray[np.int64]
    num_items: int


class StudyPoint(NamedTuple):
    """One run: its place in the study and its whole recipe."""

    name: str
    kind: Kind
    size: int
    data: int
    seed: int
    recipe: Recipe
    compute: float  # FLOPs of the backbone, expected
    held_out: bool = False
    factor: float = 1.0  # on the ladder's learning rate

    @property
    def setting(self) -> str:
        """What runs that differ in their seed share."""
        return self.name.rsplit("-s", 1)[0]


def fixed(recipe: Recipe, config: ScaleConfig) -> Recipe:
    """The recipe with what must be the same at every point.

    Raises:
        UserError: the recipe's losses could not be compared, or it trains on several workers, or from trained weights,
            or on no GPU where its runs are to have some.
    """
    _refuse(recipe)
    if config.gpus_per_run and recipe.train.use_gpu is False:
        raise UserError(f"scale.gpus_per_run is {config.gpus_per_run:g} but train.use_gpu false: leave one of them out")
    raw = recipe.model_dump()
    if not recipe.encoder.is_inductive():
        raw["encoder"]["items"] = ProjectedItemsConfig(table_width=config.item_width).model_dump()
    if not isinstance(recipe.split, ColdUserConfig):
        raw["split"] = ColdUserConfig().model_dump()
    raw["train"] |= {"patience": None, "max_steps": None, "eval_every": 1e9}
    raw["evaluation"]["baselines"] = False
    return validated(raw)


def _refuse(recipe: Recipe) -> None:
    objective, train = recipe.objective, recipe.train
    next_items = isinstance(objective, AutoregressiveConfig) and isinstance(objective.softmax, FullSoftmaxConfig)
    contrast = isinstance(objective, ContrastiveConfig) and objective.num_negatives is None
    if not (next_items or contrast):
        raise UserError(
            "a scaling study needs losses that can be compared: objective autoregressive with softmax full, or "
            "contrastive without num_negatives"
        )
    if train.num_workers > 1 or train.warm_start is not None:
        field = "num_workers" if train.num_workers > 1 else "warm_start"
        raise UserError(f"train.{field}: the runs of a study have one worker each and start from drawn weights")
    if recipe.stream.domain_temperature != 1 or recipe.stream.user_share != 1:
        raise UserError("stream.domain_temperature and stream.user_share must be 1: a study sets its data itself")


def study_points(
    recipe: Recipe, config: ScaleConfig, data: StudyData, factors: Mapping[int, float]
) -> tuple[list[StudyPoint], list[str]]:
    """All points but those that tune, the held-out ones marked, and what was left out or should be known.

    `factors` multiply the ladder's learning rate at each size.

    Raises:
        UserError: an amount of data is smaller than a batch or beyond `max_epochs`, or a budget suits no size.
    """
    amounts = _amounts(config, data)
    said = [_epochs_said(amount, config, data) for amount in amounts]
    shapes = {size: _shape(recipe, size) for size in config.sizes}
    drafts = [_Draft("grid", size, amount) for size in config.sizes for amount in amounts]
    for budget in config.budgets:
        spent, left_out = _isoflop(recipe, config, data, shapes, budget)
        drafts += spent
        said += left_out
    middle, most = sorted(config.sizes)[(len(config.sizes) - 1) // 2], min(max(amounts), data.interactions)
    drafts += [_Draft("length", middle, most, max_len=length) for length in config.lengths]
    drafts += [_Draft("batch", middle, most, batch=batch) for batch in config.batches]
    made = [_point(recipe, config, data, shapes[d.size], d, s, factors) for d in drafts for s in config.seeds]
    return _marked(made, config.hold_out), [line for line in said if line]


def tuning_points(recipe: Recipe, config: ScaleConfig, data: StudyData) -> list[StudyPoint]:
    """Each size with each factor, on a middling amount of data, or on less where as much of it is held out.

    A size of which even the least data are held out is not tried. None where there is nothing to tune.
    """
    amounts = sorted(_amounts(config, data))
    middle = amounts[len(amounts) // 2]
    held: dict[int, int] = {}
    for point in study_points(recipe, config, data, {})[0] if config.tune else []:
        if point.held_out:
            held[point.size] = min(point.data, held.get(point.size, point.data))
    drafts = [
        _Draft("tune", size, max(allowed), factor=factor)
        for size in config.sizes
        if (allowed := [amount for amount in amounts if amount <= middle and amount < held.get(size, math.inf)])
        for factor in config.tune
    ]
    return [_point(recipe, config, data, _shape(recipe, d.size), d, config.seeds[0], {}) for d in drafts]


def _amounts(config: ScaleConfig, data: StudyData) -> tuple[int, ...]:
    return config.data or tuple(round(share * data.interactions) for share in _SHARES)


class _Draft(NamedTuple):
    kind: Kind
    size: int
    data: int
    max_len: int | None = None
    batch: int | None = None
    factor: float | None = None


def _shape(recipe: Recipe, size: int) -> BackboneShape:
    return shape_of(recipe.encoder.backbone, recipe.stream.max_len, size)


def _epochs_said(amount: int, config: ScaleConfig, data: StudyData) -> str:
    epochs = amount / data.interactions
    if epochs > config.max_epochs:
        raise UserError(
            f"scale.data {amount:,}: the corpus trains on {data.interactions:,} interactions, this is {epochs:.3g} "
            f"epochs of it, more than scale.max_epochs {config.max_epochs:g}"
        )
    if epochs > 1.001:
        return f"{amount:,} interactions are {epochs:.3g} epochs of the corpus: repeated ones teach less than new ones"
    return ""


def _isoflop(
    recipe: Recipe, config: ScaleConfig, data: StudyData, shapes: Mapping[int, BackboneShape], budget: float
) -> tuple[list[_Draft], list[str]]:
    """A budget at every size for which it pays for data within those of the study.

    On less data a run may still be learning how often each item occurs, and more may come twice: neither is on the law.
    """
    amounts = {size: round(budget / backbone_cost(recipe, shape, data)) for size, shape in shapes.items()}
    asked = _amounts(config, data)
    least, most = min(asked), max(*asked, data.interactions)
    fit = {size: amount for size, amount in amounts.items() if least <= amount <= most}
    if not fit:
        raise UserError(
            f"scale.budgets {budget:g}: at these sizes it pays for {min(amounts.values()):,} to "
            f"{max(amounts.values()):,} interactions; this study's data are {least:,} to {most:,}"
        )
    out = ", ".join(f"{size:,}" for size in amounts if size not in fit)
    drafts = [_Draft("isoflop", size, amount) for size, amount in fit.items()]
    return drafts, [f"budget {budget:g} does not suit the sizes {out}"] if out else []


def cost_of(recipe: Recipe, shape: BackboneShape, data: StudyData) -> Cost:
    """The FLOPs of some windows of the corpus through a backbone of this shape."""
    own = settings(recipe, shape, data.interactions)["encoder"]
    encoder = EncoderConfig.model_validate(recipe.encoder.model_dump() | own)
    return training_cost(encoder, recipe.objective, Catalogue(data.num_items), data.lengths_W)


def backbone_cost(recipe: Recipe, shape: BackboneShape, data: StudyData) -> float:
    """FLOPs of the backbone for each interaction trained on."""
    cost = cost_of(recipe, shape, data)
    return cost.backbone / max(1, cost.interactions)


def _point(
    recipe: Recipe, config: ScaleConfig, data: StudyData, shape: BackboneShape, draft: _Draft, seed: int,
    factors: Mapping[int, float],
) -> StudyPoint:  # fmt: skip
    raw = recipe.model_dump()
    if draft.max_len is not None:
        raw["stream"]["max_len"] = draft.max_len
    own = settings(validated(raw), shape, draft.data, draft.batch)
    share, epochs = min(1.0, draft.data / data.interactions), max(1.0, draft.data / data.interactions)
    if draft.data < own["stream"]["batch_tokens"]:
        raise UserError(
            f"{draft.data:,} interactions are less than one batch of {own['stream']['batch_tokens']:,}: "
            "name more data, or a smaller stream.max_len"
        )
    for part, fields in own.items():
        raw[part] |= fields
    raw["stream"]["user_share"] = share
    raw["train"] |= {"epochs": epochs, "checkpoint_every": epochs / _CHECKPOINTS}
    factor = draft.factor if draft.factor is not None else _factor(factors, draft.size)
    raw["train"]["learning_rate"] *= factor
    name = _name(draft, seed)
    chosen = validated(raw | {"name": name, "seed": seed, "run": None})
    compute = backbone_cost(recipe, shape, data) * draft.data
    return StudyPoint(name, draft.kind, draft.size, draft.data, seed, chosen, compute, factor=factor)


def _factor(factors: Mapping[int, float], size: int) -> float:
    """The factor that was tuned at this size, or else at the next smaller one."""
    smaller = [tuned for tuned in factors if tuned <= size]
    return factors[max(smaller)] if smaller else 1.0


def _name(draft: _Draft, seed: int) -> str:
    extra = {"l": draft.max_len, "b": draft.batch, "f": draft.factor}
    told = "".join(f"-{letter}{value:g}" for letter, value in extra.items() if value is not None)
    return f"{draft.kind}-n{draft.size}-d{draft.data}{told}-s{seed}"


def _marked(made: Sequence[StudyPoint], hold_out: int) -> list[StudyPoint]:
    """The same points, those of the settings with the most compute held out."""
    compute = {point.setting: point.compute for point in made if point.kind in LAW}
    held = set(sorted(compute, key=lambda setting: -compute[setting])[:hold_out])
    return [point._replace(held_out=point.setting in held) for point in made]


def settings_of(points: Sequence[StudyPoint]) -> Iterator[StudyPoint]:
    """One point of each setting."""
    return iter({point.setting: point for point in points}.values())
