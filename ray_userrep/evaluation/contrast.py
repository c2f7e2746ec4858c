"""The contrastive loss of users who are never trained on, in batches of one size.

It is bound to how many looks are told apart, so that the batches that runs were trained with would compare their sizes:
here every batch has as many windows, the newest of as many users. Users of a batch depend on each other, so that
intervals are over batches; users that fill none are left out.

Shapes: U users, B batches.
"""

from dataclasses import replace

import numpy as np
import torch

from ray_userrep.corpus.batch import START
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.data import Sequences
from ray_userrep.evaluation.encoder_ranks import as_batch
from ray_userrep.evaluation.likelihood import Likelihood
from ray_userrep.evaluation.ranking import newest
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
    seen = newest(users, encoder.max_len + objective.lookahead)
    loss_B, count_B = [], []
    for number in range(users.num_users // WINDOWS):
        batch = as_batch(seen.take(np.arange(number * WINDOWS, (number + 1) * WINDOWS)))
        batch = replace(batch, labels={START: torch.zeros(WINDOWS, dtype=torch.int64)})
        views = objective.views(batch, Draws(0, 0, number))
        with torch.inference_mode():
            sums_P = objective(encoder, [view.to(encoder.device) for view in views]).sums_P
        loss_B.append(float(sums_P.sum()))
        count_B.append(int(objective.counts(views).sum()))
    return Likelihood(np.array(loss_B), np.array(count_B))
