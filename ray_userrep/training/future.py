"""Weights judged by what the user vector tells: how much of what users do later the vectors of before explain.

It is what a user vector is for, and costs a pass over whole histories and a regression at each validation. What it is
measured with takes a second to import, so that only runs that ask for it come here.

Shapes: B users of a chunk, U users, S of what is remembered of a user, E of a bag, F numbers of a user vector.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.bag import Moments, scaled_bag
from ray_userrep.encoder.histories import by_length, history_sums, user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences, read_train
from ray_userrep.evaluation.universality import LEAST_INTERACTIONS, MIN_USERS, Question, ask_future, most_users
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.training.step import Engine
from ray_userrep.training.validation import VECTOR, share_of_rank

_RUN_TOKENS = 16384


def read_question(corpus: Corpus, split: Split, config: EvaluationConfig, side: list[str]) -> Question:
    """What the vectors of older halves are asked, of what is known before the validation items.

    Raises:
        UserError: too few users are known well enough.
    """
    question = ask_future(read_train(corpus, split, "valid", side, most_users(config), least=1))
    if question is None:
        raise UserError(
            f"train.select vector: fewer than {MIN_USERS} users have {LEAST_INTERACTIONS} interactions before the "
            "validation items: take train.select ranking"
        )
    return question


def vector_metrics(engine: Engine, question: Question, fits_map: bool) -> dict[str, float]:
    """How much of the newer parts of histories the vectors of the older ones explain.

    `fits_map`: the bag's kept directions are found after training only, and so here as well.
    """
    encoder, known = engine.model.encoder, question.known
    runs = by_length(known.lengths_U, _RUN_TOKENS)
    place, once = share_of_rank(len(runs), engine)
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
