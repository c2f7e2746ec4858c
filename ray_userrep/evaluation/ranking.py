"""Full-catalogue ranks without the score matrix: users are scored a few at a time, by an encoder or a baseline.

An encoder's score of an item is the product of what it ranks by (mostly the user's vector) and the item's vector. Where
several processes hold the items between them, each scores its own for all users: how many come before a target adds up.

Shapes: U users, B users of a chunk, V items, S of them held here, N interactions, P pairs, D width.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Histories, Sequences
from ray_userrep.feed.batch import TIMESTAMPS, Batch

Scorer = Callable[[Histories], Tensor]  # of the items held here for each user, [B, S], until it is called again

# Users are scored together until their scores fill a cache, but so many at least that the item vectors, which are read
# once for all of them, cost less than the products.
_CHUNK_SCORES, _LEAST_USERS, _MOST_SCORES = 2**22, 128, 2**27
_BLOCK_SCORES = 2**20


class Share(NamedTuple):
    """Which items are scored here: every `world`-th from `rank` on; `total` adds up a tensor of each process."""

    rank: int = 0
    world: int = 1
    total: Callable[[Tensor], Tensor] = lambda x: x

    def holds(self, items: Tensor) -> Tensor:
        """Whether items are among them."""
        return items % self.world == self.rank

    def items_of(self, places: Tensor) -> Tensor:
        """The items at places among them."""
        return places * self.world + self.rank


WHOLE = Share()


def ranks(
    scorer: Scorer, histories: Histories, num_items: int, exclude_seen: bool, share: Share = WHOLE
) -> NDArray[np.int64]:
    """The rank of each user's target among all items, from 1, `[U]`.

    Of equal scores the smaller item index comes first, so that ranks do not depend on an unstable sort. With
    `exclude_seen`, items of the history do not compete; the target always does. All processes of a share have to ask,
    for the same users.

    Raises:
        UserError: a score is not finite.
    """
    most = -(-num_items // share.world)
    chunk = max(1, _CHUNK_SCORES // most, min(_LEAST_USERS, _MOST_SCORES // most))
    found = [np.zeros(0, np.int64)]
    for first in range(0, histories.num_users, chunk):
        part = histories.take(np.arange(first, min(first + chunk, histories.num_users)))
        found.append(_ranks(scorer(part), part, num_items, exclude_seen, share))
    return np.concatenate(found)


def _ranks(
    scores_BS: Tensor, histories: Histories, num_items: int, exclude_seen: bool, share: Share
) -> NDArray[np.int64]:
    target_B = torch.from_numpy(histories.targets_U).to(scores_BS.device)
    is_held_B = share.holds(target_B)
    own_B = torch.zeros(len(target_B), dtype=scores_BS.dtype, device=scores_BS.device)
    own_B[is_held_B] = scores_BS[is_held_B, target_B[is_held_B] // share.world]
    own_B = share.total(own_B)
    ahead_B = _ahead(scores_BS, target_B, own_B, share)
    if exclude_seen:
        ahead_B -= _seen_ahead(scores_BS, target_B, own_B, histories, num_items, share)
    return 1 + share.total(ahead_B).cpu().numpy().astype(np.int64)


def _ahead(scores_BS: Tensor, target_B: Tensor, own_B: Tensor, share: Share) -> Tensor:
    """How many items come before each target, `[B]`; a block of items at a time, which stays in a cache."""
    score_B1, ahead_B = own_B[:, None], torch.zeros_like(target_B)
    tied_B = -share.holds(target_B).long()  # a target ties with itself
    width = max(1, _BLOCK_SCORES // len(scores_BS))
    buffer_BS = scores_BS.new_empty(len(scores_BS), min(width, scores_BS.shape[1]))
    for block_BS in scores_BS.split(width, dim=1):
        if not torch.isfinite(block_BS.sum()):
            raise UserError("a score is not finite: the model has diverged; train it again with a lower learning rate")
        found_BS = buffer_BS[:, : block_BS.shape[1]]  # as numbers: booleans are four times as slow to make and to sum
        ahead_B += torch.gt(block_BS, score_B1, out=found_BS).sum(1).long()
        tied_B += torch.eq(block_BS, score_B1, out=found_BS).sum(1).long()
    (rows,) = tied_B.nonzero(as_tuple=True)  # of an encoder few, if any
    items_S = share.items_of(torch.arange(scores_BS.shape[1], device=scores_BS.device))
    for row in rows.tolist():
        ahead_B[row] += ((scores_BS[row] == score_B1[row]) & (items_S < target_B[row])).sum()
    return ahead_B


def _seen_ahead(
    scores_BS: Tensor, target_B: Tensor, own_B: Tensor, histories: Histories, num_items: int, share: Share
) -> Tensor:
    """How many of the items held here that come before each target are in its history, `[B]`."""
    user_N = np.repeat(np.arange(histories.num_users), histories.lengths_U)
    pairs = np.unique(user_N * num_items + histories.items_N)
    user_P, item_P = (torch.from_numpy(part).to(target_B.device) for part in np.divmod(pairs, num_items))
    is_held_P = share.holds(item_P)
    user_P, item_P = user_P[is_held_P], item_P[is_held_P]
    score_P, own_P = scores_BS[user_P, item_P // share.world], own_B[user_P]
    is_ahead_P = (score_P > own_P) | ((score_P == own_P) & (item_P < target_B[user_P]))
    return torch.zeros_like(target_B).index_add_(0, user_P, is_ahead_P.to(target_B.dtype))


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
    return product_scorer(lambda histories: ranking_vectors(encoder, histories), table_VD)


def ranking_vectors(encoder: UserEncoder, histories: Histories) -> Tensor:
    """What scores the items as each user's next, `[B, D]`; gradients are not kept."""
    batch = as_batch(newest(histories, encoder.max_len)).to(encoder.device)
    with torch.no_grad():
        return encoder.ranking(batch).float()


def product_scorer(users_of: Callable[[Histories], Tensor], table_VD: Tensor) -> Scorer:
    """Scores that are products of user and item vectors."""
    room = table_VD.new_empty(0)  # kept: to have as much from the system each time takes longer than the products

    def scores(histories: Histories) -> Tensor:
        users_BD = users_of(histories)
        scores_BV = room.resize_(max(len(room), len(users_BD)), len(table_VD))[: len(users_BD)]
        return torch.mm(users_BD, table_VD.T, out=scores_BV)

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
