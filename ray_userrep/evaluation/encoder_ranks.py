"""Ranking with an encoder: a user's score of an item is the product of their vectors.

Shapes: B users, V items, D width.
"""

import numpy as np
import torch
from torch import Tensor

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.data import Histories, Sequences
from ray_userrep.evaluation.ranking import Scorer, newest
from ray_userrep.feed.batch import TIMESTAMPS, Batch


def encoder_scorer(encoder: UserEncoder) -> Scorer:
    """Scores all items for each history, by the item vectors as they are now; gradients are not kept."""
    # Not inference mode: parameters gathered under it (ZeRO-3) could not be trained on afterwards. Detached, vectors
    # stay when a gathered parameter is let go.
    with torch.no_grad():
        table_VD = encoder.items(None).detach().float()

    def scores(histories: Histories) -> Tensor:
        batch = as_batch(newest(histories, encoder.max_len)).to(encoder.device)
        with torch.no_grad():
            return encoder(batch).float() @ table_VD.T

    return scores


def as_batch(sequences: Sequences) -> Batch:
    """Sequences as what an encoder is given."""
    columns = {TIMESTAMPS: sequences.times_N} | sequences.side_N
    return Batch(
        torch.from_numpy(sequences.items_N),
        torch.from_numpy(sequences.offsets_U1.astype(np.int32)),
        torch.from_numpy(sequences.users_U),
        int(sequences.lengths_U.max(initial=0)),
        side={name: torch.from_numpy(column) for name, column in columns.items()},
    )
