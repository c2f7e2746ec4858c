"""One run of a study, from its recipe to its figures: trained by the bare loop, measured three ways.

Beside the validation loss stand NDCG@10 on the test items and what a linear model reads about the users, so that a
study can say whether a lower loss is worth anything. A run that diverges has that as its outcome.

Shapes: W windows.
"""

import time
from typing import Any

import numpy as np
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import DivergedError, UserError
from ray_userrep.evaluation.encoder_ranks import encoder_scorer
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.likelihood import Likelihood, likelihood, read_unseen
from ray_userrep.evaluation.objective_loss import contrast
from ray_userrep.evaluation.profile import measure_profile
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.evaluation.table import summary
from ray_userrep.feed.plan import BatchPlan, Position
from ray_userrep.feed.stream import make_plan, train_counts
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.planner.accounting import Catalogue, Cost, backbone_parameters, lookahead_of, training_cost
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training import runs
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.callbacks import Sink
from ray_userrep.training.fit import fit, load_encoder
from ray_userrep.training.loop import total_steps
from ray_userrep.training.records import read_records

PointResult = dict[str, Any]
TRAINED, DIVERGED = "trained", "diverged"
_COSTED_BATCHES = 20


def run_point(recipe: Recipe, corpus: Corpus, run_uri: str, about: dict[str, Any], on_record: Sink) -> PointResult:
    """Train or resume one point and write its result; the caller holds the run's lease.

    Raises:
        UserError: the folder holds another run, or the point cannot be trained as it is.
    """
    runs.open_run(recipe, run_uri)
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spent = spent_on(recipe, corpus)
    measured: PointResult = {"outcome": DIVERGED}
    try:
        fit(recipe, corpus, run_uri, lambda model: BareEngine(model, recipe.train, device), on_record)
        measured = {"outcome": _outcome(run_uri)} | measure_point(recipe, corpus, load_encoder(run_uri))
    except DivergedError as error:
        measured["message"] = str(error)
    except UserError as error:
        if "diverged" not in str(error):
            raise
        measured["message"] = str(error)
    result = {"job": "scale", "point": about, "recipe": recipe.model_dump(mode="json"), "seed": recipe.seed}
    result |= spent | measured | {"timings": {"run": time.perf_counter() - began}}
    storage.write_json(storage.join(run_uri, runs.RESULT), result)
    return result


def finished_point(run_uri: str) -> PointResult | None:
    """The result of a point that is done."""
    uri = storage.join(run_uri, runs.RESULT)
    return storage.read_json(uri) if storage.exists(uri) else None


def measure_point(recipe: Recipe, corpus: Corpus, encoder: UserEncoder) -> PointResult:
    """Validation loss, NDCG@10 and profile of a trained encoder."""
    split, config = resolve(recipe.split, corpus), recipe.evaluation
    encoder = encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu")
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
        return likelihood(encoder, read_unseen(corpus, split, encoder.side_columns))
    assert encoder.item_table is not None
    data = ObjectiveData(encoder.item_table, corpus.manifest.side_columns, lambda: train_counts(corpus, split))
    objective = build_objective(recipe.objective, recipe.encoder, data)
    columns = {*encoder.side_columns, *objective.side_columns}
    return contrast(objective, encoder, read_unseen(corpus, split, sorted(columns)))


def plan_of(recipe: Recipe, corpus: Corpus) -> BatchPlan:
    """What a recipe trains on."""
    split: Split = resolve(recipe.split, corpus, recipe.stream.user_share)
    return make_plan(corpus, split, recipe.stream, lookahead_of(recipe.objective), recipe.seed)


def window_lengths(plan: BatchPlan) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Lengths of the windows of the first global batches, `[W]` each."""
    batches = plan.batches(Position())
    return [batch.windows.length_W for batch, _ in zip(batches, range(_COSTED_BATCHES), strict=False)]


def spent_on(recipe: Recipe, corpus: Corpus) -> PointResult:
    """Parameters, interactions, epochs and FLOPs of the whole run, as planned; FLOPs by its first batches."""
    plan, lookahead = plan_of(recipe, corpus), lookahead_of(recipe.objective)
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
        "users": int(sum((lengths_U > lookahead).sum() for lengths_U in plan.train_lengths)),
        "epochs": interactions / plan.num_tokens,
    }


def _per_interaction(costs: list[Cost], part: str) -> float:
    return float(sum(getattr(cost, part) for cost in costs)) / max(1, sum(cost.interactions for cost in costs))


def _outcome(run_uri: str) -> str:
    return DIVERGED if any(record["kind"] == "diverged" for record in read_records(run_uri)) else TRAINED
