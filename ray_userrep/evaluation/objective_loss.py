"""A pretraining loss on the newest windows of given users, in batches of one size.

Contrastive losses are bound to how many looks are told apart, so that the batches that runs were trained with would
compare their sizes: here every batch has as many windows. Users of a batch depend on each other, so that intervals are
over batches; users that fill none are left out.

Shapes: U users, B batches, P parts of the loss.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.data import Sequences
from ray_userrep.evaluation.encoder_ranks import as_batch
from ray_userrep.evaluation.likelihood import Likelihood
from ray_userrep.evaluation.ranking import newest
from ray_userrep.feed.batch import START
from ray_userrep.objectives.base import Draws, Objective

WINDOWS = 64  # of a batch


def contrast(objective: Objective, encoder: UserEncoder, users: Sequences) -> Likelihood:
    """The loss of each batch's windows, by an encoder that drops nothing; the looks are the same at every call.

    Raises:
        UserError: there are too few users for two batches.
    """
    if users.num_users < 2 * WINDOWS:
        raise UserError(
            f"{users.num_users} users are held out for validation: two batches of this loss want {2 * WINDOWS}; raise "
            "split.valid_share"
        )
    sums_BP, counts_BP = part_losses(objective, encoder, users, range(num_batches(users)))
    return Likelihood(sums_BP.sum(1), counts_BP.sum(1))


def num_batches(users: Sequences) -> int:
    """How many batches the users fill; too few for one are one of their own."""
    return max(1, users.num_users // WINDOWS)


def part_losses(
    objective: Objective, encoder: UserEncoder, users: Sequences, batches: Iterable[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Summed losses and numbers of terms of the given batches, `[B, P]` each."""
    losses = [_batch_losses(objective, encoder, users, number) for number in batches]
    sums_BP, counts_BP = (np.array(column) for column in zip(*losses, strict=True))
    return sums_BP.astype(np.float64), counts_BP.astype(np.int64)


def _batch_losses(
    objective: Objective, encoder: UserEncoder, users: Sequences, number: int
) -> tuple[list[float], list[float]]:
    rows = np.arange(number * WINDOWS, min((number + 1) * WINDOWS, users.num_users))
    batch = as_batch(newest(users.take(rows), encoder.max_len + objective.lookahead))
    batch = replace(batch, labels={START: torch.zeros(len(rows), dtype=torch.int64)})
    views = objective.views(batch, Draws(0, 0, number))
    with torch.no_grad():  # not inference mode: parameters gathered under it (ZeRO-3) could not be trained afterwards
        sums_P = objective(encoder, [view.to(encoder.device) for view in views]).sums_P
    return sums_P.tolist(), objective.counts(views).tolist()
