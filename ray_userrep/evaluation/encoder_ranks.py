"""Ranking with an encoder: a user's score of an item is the product of their vectors.

Shapes: B users, V items, D width.
"""

import numpy as np
import torch
from torch import Tensor

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.data import Histories
from ray_userrep.evaluation.ranking import Scorer, newest


def encoder_scorer(encoder: UserEncoder) -> Scorer:
    """Scores all items for each history; gradients are not kept."""

    def scores(histories: Histories) -> Tensor:
        items, offsets = newest(histories, encoder.max_len)
        batch = Batch(
            torch.from_numpy(items),
            torch.from_numpy(offsets),
            torch.from_numpy(histories.users_U),
            int(np.diff(offsets).max(initial=0)),
        ).to(encoder.device)
        # Not inference mode: parameters gathered under it (ZeRO-3) could not be trained on afterwards.
        with torch.no_grad():
            return encoder(batch).float() @ encoder.items(None).float().T

    return scores
