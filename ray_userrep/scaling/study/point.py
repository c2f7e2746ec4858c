"""One run of a study, from its recipe to its figures: trained by the bare loop, measured three ways, and put in a row.

Beside the validation loss stand NDCG@10 on the test items and what a linear model reads about the users, so that a
study can say whether a lower loss is worth anything. A run that diverges has that as its outcome.

The learning rate may be tuned at each size, among the ladder's own times the factors that were tried. What is tuned is
the backbone's rate; the items' is the same at every size. One amount of data serves for all, one in the middle: short
runs like rates that make long ones diverge, and the longest would cost as much as the study. Only sizes that are held
out on so much data are tried on less, and may be tuned worse for it: what is to be predicted must not have been
trained.

Shapes: W windows.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import DivergedError, UserError
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.losses import Likelihood, contrast, likelihood, read_unseen
from ray_userrep.evaluation.profile import measure_profile
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import HEADLINE, summary
from ray_userrep.feed.plan import BatchPlan, Position
from ray_userrep.feed.stream import make_plan, train_counts
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.planner.accounting import Catalogue, Cost, backbone_parameters, training_cost
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.scaling.law.points import MIN_POINTS, LawPoints
from ray_userrep.scaling.study.grid import LAW, StudyPoint
from ray_userrep.training import runs
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.callbacks import Sink
from ray_userrep.training.fit import fit, load_encoder
from ray_userrep.training.impressions import read_impressions
from ray_userrep.training.loop import total_steps
from ray_userrep.training.runs import read_records
from ray_userrep.training.stored import read_result, store_result

PointResult = dict[str, Any]
TRAINED, DIVERGED = "trained", "diverged"
_COSTED_BATCHES = 20


def run_point(
    recipe: Recipe, corpus: Corpus, run_uri: str, about: dict[str, Any], on_record: Sink, device: str = "cpu"
) -> PointResult:
    """Train or resume one point and write its result; the caller holds the run's lease.

    Raises:
        UserError: the folder holds another run, or the point cannot be trained as it is.
    """
    runs.open_run(recipe, run_uri)
    began = time.perf_counter()
    spent = spent_on(recipe, corpus)
    measured: PointResult = {"outcome": DIVERGED}
    try:
        fit(recipe, corpus, run_uri, lambda model: BareEngine(model, recipe.train, torch.device(device)), on_record)
        encoder = load_encoder(run_uri).eval().to(device)
        measured = {"outcome": _outcome(run_uri)} | measure_point(recipe, corpus, encoder)
    except DivergedError as error:
        measured["message"] = str(error)
    except UserError as error:
        if "diverged" not in str(error):
            raise
        measured["message"] = str(error)
    result = {"job": "scale", "point": about, "recipe": recipe.model_dump(mode="json"), "seed": recipe.seed}
    result |= spent | measured | {"timings": {"run": time.perf_counter() - began}}
    store_result(run_uri, result)
    return result


def finished_point(run_uri: str) -> PointResult | None:
    """The result of a point that is done."""
    return read_result(run_uri) if storage.exists(storage.join(run_uri, runs.RESULT)) else None


def measure_point(recipe: Recipe, corpus: Corpus, encoder: UserEncoder) -> PointResult:
    """Validation loss, NDCG@10 and profile of a trained encoder."""
    split, config = resolve(recipe.split, corpus), recipe.evaluation
    test = read_histories(corpus, split, "test", config.max_users, encoder.side_columns)
    found = ranks(encoder_scorer(encoder), test, corpus.manifest.num_items, config.exclude_seen)
    return {
        "loss": validation_loss(recipe, corpus, split, encoder).summary(),
        "metrics": summary(found, config, test.users_U),
        "profile": measure_profile(corpus, split, encoder, config),
        "split_fingerprint": split.fingerprint(corpus.manifest, config.exclude_seen),
        "parameters": encoder.parameters_by_kind(),
    }


def validation_loss(recipe: Recipe, corpus: Corpus, split: Split, encoder: UserEncoder) -> Likelihood:
    """The loss that the recipe trains, on users who are never trained on."""
    if isinstance(recipe.objective, AutoregressiveConfig):
        return likelihood(encoder, read_unseen(corpus, split, encoder.side_columns, recipe.evaluation.max_users))
    assert encoder.item_table is not None
    data = ObjectiveData(
        encoder.item_table,
        corpus.manifest.side_columns,
        partial(train_counts, corpus, split),
        impressions=partial(read_impressions, corpus=corpus),
    )
    objective = build_objective(recipe.objective, recipe.encoder, data)
    columns = {*encoder.side_columns, *objective.side_columns}
    users = read_unseen(corpus, split, sorted(columns), recipe.evaluation.max_users)
    return contrast(objective, encoder, users)


def plan_of(recipe: Recipe, corpus: Corpus) -> BatchPlan:
    """What a recipe trains on."""
    split: Split = resolve(recipe.split, corpus, recipe.stream.user_share)
    return make_plan(corpus, split, recipe.stream, recipe.objective.lookahead(), recipe.seed)


def window_lengths(plan: BatchPlan) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Lengths of the windows of the first global batches, `[W]` each."""
    batches = plan.batches(Position())
    return [batch.windows.length_W for batch, _ in zip(batches, range(_COSTED_BATCHES), strict=False)]


def spent_on(recipe: Recipe, corpus: Corpus) -> PointResult:
    """Parameters, interactions, epochs and FLOPs of the whole run, as planned; FLOPs by its first batches."""
    plan = plan_of(recipe, corpus)
    steps = total_steps(recipe.train, plan.num_batches)
    interactions = steps * plan.num_tokens / plan.num_batches
    catalogue = Catalogue(corpus.manifest.num_items)
    costs = [training_cost(recipe.encoder, recipe.objective, catalogue, w) for w in window_lengths(plan)]
    encoder = recipe.encoder
    return {
        "N": backbone_parameters(encoder.backbone, encoder.width, recipe.stream.max_len),
        "D": interactions,
        "C": _per_interaction(costs, "backbone") * interactions,
        "flops": _per_interaction(costs, "total") * interactions,
        "steps": steps,
        "unique": plan.num_tokens,
        "users": plan.num_users,
        "epochs": interactions / plan.num_tokens,
    }


def _per_interaction(costs: list[Cost], part: str) -> float:
    return float(sum(getattr(cost, part) for cost in costs)) / max(1, sum(cost.interactions for cost in costs))


def _outcome(run_uri: str) -> str:
    return DIVERGED if any(record["kind"] == "diverged" for record in read_records(run_uri)) else TRAINED


Row = dict[str, Any]


def row_of(point: StudyPoint, result: PointResult) -> Row:
    """The run's place in the study and its figures; those of a run that diverged are null."""
    good = result["outcome"] == TRAINED
    asked = result.get("profile", {}).items()
    profile = {name: one["metrics"]["encoder"][one["headline"]]["mean"] for name, one in asked}
    stream, train = point.recipe.stream, point.recipe.train
    return {
        **{name: getattr(point, name) for name in ("name", "setting", "kind", "size", "data", "seed", "held_out")},
        **{name: result[name] for name in ("outcome", "N", "D", "C", "flops", "epochs", "users")},
        "compute": point.compute,
        "loss": result["loss"]["mean"] if good else None,
        HEADLINE: result["metrics"][HEADLINE]["mean"] if good else None,
        "profile": profile if good else {},
        "max_len": stream.max_len,
        "batch_tokens": stream.batch_tokens,
        "learning_rate": train.learning_rate,
        "seconds": result["timings"]["run"],
    }


def law_points(rows: Sequence[Row]) -> LawPoints:
    """The runs that a law may be fitted to: those of the grid and the budgets that ended well.

    Raises:
        UserError: there are too few of them.
    """
    good = [row for row in rows if row["kind"] in LAW and row["loss"] is not None]
    if len(good) < MIN_POINTS:
        raise UserError(f"{len(good)} runs for a law: it needs at least {MIN_POINTS}")
    n, d, loss, c, epochs = ([float(row[name]) for row in good] for name in ("N", "D", "loss", "C", "epochs"))
    return LawPoints.of(n, d, loss, c, epochs)


def tuned_factors(trials: Sequence[StudyPoint], results: Mapping[str, PointResult]) -> dict[int, float]:
    """The factor on the learning rate that had the lowest loss at each size."""
    best: dict[int, tuple[float, float]] = {}
    for point in trials:
        result = results[point.name]
        if result["outcome"] == TRAINED:
            best[point.size] = min(best.get(point.size, (np.inf, 1.0)), (result["loss"]["mean"], point.factor))
    return {size: factor for size, (_, factor) in best.items()}


def edge_warnings(tuned: Mapping[int, float], factors: Sequence[float]) -> list[str]:
    """What to know where the best factor may lie beyond those that were tried."""
    edges = {min(factors), max(factors)} if len(factors) > 1 else set()
    outer = [size for size, factor in tuned.items() if factor in edges]
    if not outer:
        return []
    tried = ", ".join(f"{factor:g}" for factor in sorted(factors))
    return [f"{len(outer)} of {len(tuned)} sizes learn best at an end of the rates tried (factors {tried}): try more"]
