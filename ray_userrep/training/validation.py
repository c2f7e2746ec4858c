"""What decides which weights are kept: how users of the validation are ranked for, what their losses are, or what their
vectors tell (`future.py`).

Every rank measures its share of the users, or of the items where ranks hold these between them, and all get the same
figures. Each makes equally many forward passes, some of them twice, since a rank with fewer would leave the others
waiting for parameters that ZeRO-3 partitions.

Shapes: P parts of the objective, B batches or users of a chunk, S items that a rank holds, D width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.encoder.items.rows import is_dealt_out
from ray_userrep.evaluation.histories import Histories, Sequences
from ray_userrep.evaluation.losses import num_batches, part_losses
from ray_userrep.evaluation.metrics import per_user
from ray_userrep.evaluation.ranking import Scorer, Share, encoder_scorer, product_scorer, ranking_vectors, ranks
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.training.step import Engine

RANKING, LIKELIHOOD, VECTOR = "ndcg@10", "log likelihood", "future r2"


def ranking_metrics(engine: Engine, histories: Histories, config: EvaluationConfig) -> dict[str, float]:
    """Mean HR@10 and NDCG@10 over all users."""
    encoder, names = engine.model.encoder, ("hr@10", RANKING)
    asked = encoder.config.num_items, config.exclude_seen
    if is_dealt_out(encoder):
        share = Share(engine.rank, engine.world, engine.sum)
        metrics = per_user(ranks(_scorer_of_held(engine), histories, *asked, share), (10,))
        return {name: float(metrics[name].mean()) for name in names}
    place, once = share_of_rank(histories.num_users, engine)
    metrics = per_user(ranks(encoder_scorer(encoder), histories.take(place), *asked), (10,))
    sums = torch.tensor([metrics[name][once].sum() for name in names], device=engine.device, dtype=torch.float32)
    return dict(zip(names, (engine.sum(sums) / histories.num_users).tolist(), strict=True))


def _scorer_of_held(engine: Engine) -> Scorer:
    """Scores the items that this rank holds for all users, whose vectors the ranks make between them."""
    encoder, world = engine.model.encoder, engine.world
    with torch.no_grad():
        table_SD = encoder.items.held().detach().float()

    def users_of(histories: Histories) -> Tensor:
        place, _ = share_of_rank(histories.num_users, engine)
        vectors_BD, _ = engine.model.gather(ranking_vectors(encoder, histories.take(place)))
        return vectors_BD.view(world, len(place), -1).transpose(0, 1).flatten(0, 1)[: histories.num_users]

    return product_scorer(users_of, table_SD)


def likelihood_metrics(engine: Engine, histories: Sequences) -> dict[str, float]:
    """What is trained, without dropout and told from the users of a batch only: minus the weighted loss."""
    objective = engine.model.objective
    users = histories.take(np.flatnonzero(histories.lengths_U > objective.lookahead))
    place, once = share_of_rank(num_batches(users), engine)
    sums_BP, counts_BP = part_losses(objective, engine.model.encoder, users, place.tolist())
    totals = np.stack([sums_BP[once].sum(0), counts_BP[once].sum(0)])
    sums_P, counts_P = engine.sum(torch.tensor(totals, device=engine.device, dtype=torch.float32))
    weights_P = torch.tensor(objective.weights, device=engine.device)
    return {LIKELIHOOD: -float((weights_P * sums_P / counts_P.clamp(min=1)).sum())}


def share_of_rank(number: int, engine: Engine) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of so many a rank takes, and which of these no other has taken."""
    place = np.arange(engine.rank, number + (-number) % engine.world, engine.world)
    return place % number, place < number
