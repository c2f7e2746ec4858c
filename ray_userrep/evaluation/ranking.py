"""Full-catalogue ranks without the score matrix: users are scored a few at a time, by an encoder or a baseline.

An encoder's score of an item is the product of what it ranks by (mostly the user's vector) and the item's vector.

Shapes: U users, B users of a chunk, V items, N interactions, D width.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Histories, Sequences
from ray_userrep.feed.batch import TIMESTAMPS, Batch

Scorer = Callable[[Histories], Tensor]  # scores of all items for each user, [B, V]

_CHUNK_SCORES = 2**22


def ranks(scorer: Scorer, histories: Histories, num_items: int, exclude_seen: bool) -> NDArray[np.int64]:
    """The rank of each user's target among all items, from 1, `[U]`.

    Of equal scores the smaller item index comes first, so that ranks do not depend on an unstable sort. With
    `exclude_seen`, items of the history do not compete; the target always does.

    Raises:
        UserError: a score is not finite.
    """
    chunk = max(1, _CHUNK_SCORES // num_items)
    found = [np.zeros(0, np.int64)]
    for first in range(0, histories.num_users, chunk):
        part = histories.take(np.arange(first, min(first + chunk, histories.num_users)))
        found.append(_ranks(scorer(part), part, exclude_seen))
    return np.concatenate(found)


def _ranks(scores_BV: Tensor, histories: Histories, exclude_seen: bool) -> NDArray[np.int64]:
    # Before masking, which could hide it; one sum instead of a mask as large as the scores.
    if not torch.isfinite(scores_BV.sum()):
        raise UserError("a score is not finite: the model has diverged; train it again with a lower learning rate")
    device = scores_BV.device
    target_B1 = torch.from_numpy(histories.targets_U).to(device)[:, None]
    target_score_B1 = scores_BV.gather(1, target_B1)
    if exclude_seen:
        user_N = np.repeat(np.arange(histories.num_users), histories.lengths_U)
        seen = torch.from_numpy(user_N).to(device), torch.from_numpy(histories.items_N).to(device)
        scores_BV = scores_BV.index_put(seen, scores_BV.new_tensor(float("-inf")))
    items_V = torch.arange(scores_BV.shape[1], device=device)
    tied_BV = (scores_BV == target_score_B1) & (items_V < target_B1)
    ahead_BV = (scores_BV > target_score_B1) | tied_BV
    # Summed as int32: the default for booleans is twice as slow.
    return 1 + ahead_BV.sum(1, dtype=torch.int32).cpu().numpy().astype(np.int64)


def newest(histories: Sequences, max_len: int) -> Sequences:
    """The newest interactions of each history."""
    lengths = np.minimum(histories.lengths_U, max_len)
    kept = ranges(histories.offsets_U1[1:] - lengths, lengths)
    side = {name: column[kept] for name, column in histories.side_N.items()}
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(histories.items_N[kept], histories.times_N[kept], offsets, histories.users_U, side_N=side)


def encoder_scorer(encoder: UserEncoder) -> Scorer:
    """Scores all items for each history, by the item vectors as they are now; gradients are not kept."""
    # Not inference mode: parameters gathered under it (ZeRO-3) could not be trained on afterwards. Detached, vectors
    # stay when a gathered parameter is let go.
    with torch.no_grad():
        table_VD = encoder.items(None).detach().float()

    def scores(histories: Histories) -> Tensor:
        batch = as_batch(newest(histories, encoder.max_len)).to(encoder.device)
        with torch.no_grad():
            return encoder.ranking(batch).float() @ table_VD.T

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
