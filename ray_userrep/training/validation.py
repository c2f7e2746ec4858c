"""Validation during training: every rank measures its share of the users, and all get the same figures.

Each rank makes equally many forward passes, some of them twice: a rank with fewer would leave the others waiting for
parameters that ZeRO-3 partitions.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ray_userrep.evaluation.data import Histories
from ray_userrep.evaluation.encoder_ranks import encoder_scorer
from ray_userrep.evaluation.metrics import per_user
from ray_userrep.evaluation.objective_loss import num_batches, part_losses
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.training.step import Engine

RANKING, LIKELIHOOD = "ndcg@10", "log likelihood"


def ranking_metrics(engine: Engine, histories: Histories, config: EvaluationConfig) -> dict[str, float]:
    """Mean HR@10 and NDCG@10 over all users."""
    encoder = engine.model.encoder
    place, once = _share(histories.num_users, engine)
    found = ranks(encoder_scorer(encoder), histories.take(place), encoder.config.num_items, config.exclude_seen)
    metrics = per_user(found, (10,))
    names = ("hr@10", RANKING)
    sums = torch.tensor([metrics[name][once].sum() for name in names], device=engine.device, dtype=torch.float32)
    return dict(zip(names, (engine.sum(sums) / histories.num_users).tolist(), strict=True))


def likelihood_metrics(engine: Engine, histories: Histories) -> dict[str, float]:
    """What is trained, without dropout and told from the users of a batch only: minus the weighted loss."""
    objective = engine.model.objective
    users = histories.take(np.flatnonzero(histories.lengths_U > objective.lookahead))
    place, once = _share(num_batches(users), engine)
    sums_BP, counts_BP = part_losses(objective, engine.model.encoder, users, place.tolist())
    totals = np.stack([sums_BP[once].sum(0), counts_BP[once].sum(0)])
    sums_P, counts_P = engine.sum(torch.tensor(totals, device=engine.device, dtype=torch.float32))
    weights_P = torch.tensor(objective.weights, device=engine.device)
    return {LIKELIHOOD: -float((weights_P * sums_P / counts_P.clamp(min=1)).sum())}


def _share(number: int, engine: Engine) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of so many a rank takes, and which of these no other has taken."""
    place = np.arange(engine.rank, number + (-number) % engine.world, engine.world)
    return place % number, place < number
