"""Validation during training: every rank measures its share of the users, and all get the same figures."""

import numpy as np
import torch

from ray_userrep.evaluation.config import EvaluationConfig
from ray_userrep.evaluation.data import Histories
from ray_userrep.evaluation.encoder_ranks import encoder_scorer
from ray_userrep.evaluation.metrics import per_user
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.training.step import Engine


def validation_metrics(engine: Engine, histories: Histories, config: EvaluationConfig) -> dict[str, float]:
    """Mean HR@10 and NDCG@10 over all users.

    Each rank ranks equally many users, some of them twice: a rank with fewer forward passes would leave the others
    waiting for parameters that ZeRO-3 partitions.
    """
    encoder = engine.model.encoder
    place = np.arange(engine.rank, histories.num_users + (-histories.num_users) % engine.world, engine.world)
    mine = histories.take(place % histories.num_users)
    found = ranks(encoder_scorer(encoder), mine, encoder.config.num_items, config.exclude_seen)
    metrics = per_user(found, (10,))
    once = place < histories.num_users
    names = ("hr@10", "ndcg@10")
    sums = torch.tensor([metrics[name][once].sum() for name in names], device=engine.device, dtype=torch.float32)
    return dict(zip(names, (engine.sum(sums) / histories.num_users).tolist(), strict=True))
