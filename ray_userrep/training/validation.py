"""What decides which weights are kept: how users of the validation are ranked for, what their losses are, or what their
vectors tell.

Every rank measures its share of the users, or of the items where ranks hold these between them, and all get the same
figures. Each makes equally many forward passes, some of them twice, since a rank with fewer would leave the others
waiting for parameters that ZeRO-3 partitions.

Shapes: P parts of the objective, B batches or users of a chunk, U users, S items that a rank holds, D width, F numbers
of a user vector.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.encoder.bag import Moments, scaled_bag
from ray_userrep.encoder.histories import by_length, history_sums, user_vectors
from ray_userrep.encoder.items.rows import is_dealt_out
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Histories, Sequences
from ray_userrep.evaluation.losses import num_batches, part_losses
from ray_userrep.evaluation.metrics import per_user
from ray_userrep.evaluation.ranking import Scorer, Share, encoder_scorer, product_scorer, ranking_vectors, ranks
from ray_userrep.evaluation.universality import Question
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.training.step import Engine

RANKING, LIKELIHOOD, VECTOR = "ndcg@10", "log likelihood", "future r2"
_RUN_TOKENS = 16384


def ranking_metrics(engine: Engine, histories: Histories, config: EvaluationConfig) -> dict[str, float]:
    """Mean HR@10 and NDCG@10 over all users."""
    encoder, names = engine.model.encoder, ("hr@10", RANKING)
    asked = encoder.config.num_items, config.exclude_seen
    if is_dealt_out(encoder):
        share = Share(engine.rank, engine.world, engine.sum)
        metrics = per_user(ranks(_scorer_of_held(engine), histories, *asked, share), (10,))
        return {name: float(metrics[name].mean()) for name in names}
    place, once = _share(histories.num_users, engine)
    metrics = per_user(ranks(encoder_scorer(encoder), histories.take(place), *asked), (10,))
    sums = torch.tensor([metrics[name][once].sum() for name in names], device=engine.device, dtype=torch.float32)
    return dict(zip(names, (engine.sum(sums) / histories.num_users).tolist(), strict=True))


def _scorer_of_held(engine: Engine) -> Scorer:
    """Scores the items that this rank holds for all users, whose vectors the ranks make between them."""
    encoder, world = engine.model.encoder, engine.world
    with torch.no_grad():
        table_SD = encoder.items.held().detach().float()

    def users_of(histories: Histories) -> Tensor:
        place, _ = _share(histories.num_users, engine)
        vectors_BD, _ = engine.model.gather(ranking_vectors(encoder, histories.take(place)))
        return vectors_BD.view(world, len(place), -1).transpose(0, 1).flatten(0, 1)[: histories.num_users]

    return product_scorer(users_of, table_SD)


def likelihood_metrics(engine: Engine, histories: Sequences) -> dict[str, float]:
    """What is trained, without dropout and told from the users of a batch only: minus the weighted loss."""
    objective = engine.model.objective
    users = histories.take(np.flatnonzero(histories.lengths_U > objective.lookahead))
    place, once = _share(num_batches(users), engine)
    sums_BP, counts_BP = part_losses(objective, engine.model.encoder, users, place.tolist())
    totals = np.stack([sums_BP[once].sum(0), counts_BP[once].sum(0)])
    sums_P, counts_P = engine.sum(torch.tensor(totals, device=engine.device, dtype=torch.float32))
    weights_P = torch.tensor(objective.weights, device=engine.device)
    return {LIKELIHOOD: -float((weights_P * sums_P / counts_P.clamp(min=1)).sum())}


def vector_metrics(engine: Engine, question: Question, fits_map: bool) -> dict[str, float]:
    """How much of the newer parts of histories the vectors of the older ones explain.

    `fits_map`: the bag's kept directions are found after training only, and so here as well.
    """
    encoder, known = engine.model.encoder, question.known
    runs = by_length(known.lengths_U, _RUN_TOKENS)
    place, once = _share(len(runs), engine)
    read = [_vectors(encoder, known.take(runs[number]), fits_map) for number in place]
    vectors_UF = np.zeros((known.num_users, read[0].shape[1]), np.float32)
    for number, vectors_BF, is_first in zip(place, read, once, strict=True):
        vectors_UF[runs[number]] += vectors_BF * is_first
    vectors_UF = engine.sum(torch.from_numpy(vectors_UF).to(engine.device)).cpu().numpy()
    figure = 0.0
    if engine.rank == 0:  # ranks that round otherwise might disagree on which weights are the best
        figure = question.explained((_principal(vectors_UF, encoder) if fits_map else vectors_UF).astype(np.float64))
    return {VECTOR: float(engine.sum(torch.tensor([figure], device=engine.device)))}


def _vectors(encoder: UserEncoder, known: Sequences, fits_map: bool) -> NDArray[np.float32]:
    """Vectors of whole histories, or bags that are still to be mapped, by one forward pass."""
    columns = {TIMESTAMPS: known.times_N} | known.side_N
    given, tokens = (encoder, known.items_N, known.lengths_U, columns), len(known.items_N) + 1
    if not fits_map:
        return user_vectors(*given, batch_tokens=tokens)
    assert encoder.bag is not None, "what has a map has a bag"
    sums_BS = torch.from_numpy(history_sums(*given, tokens))
    return scaled_bag(sums_BS[:, : encoder.bag.width + 1]).numpy()


def _principal(bags_UE: NDArray[np.float32], encoder: UserEncoder) -> NDArray[np.float32]:
    assert encoder.bag is not None, "what has a map has a bag"
    moments = Moments(bags_UE.shape[1])
    moments.add(bags_UE)
    directions_FE, _ = moments.principal_map(encoder.bag.map.kept)
    return bags_UE @ directions_FE.numpy().T


def _share(number: int, engine: Engine) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of so many a rank takes, and which of these no other has taken."""
    place = np.arange(engine.rank, number + (-number) % engine.world, engine.world)
    return place % number, place < number
