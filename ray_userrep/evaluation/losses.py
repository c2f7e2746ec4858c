"""Losses on users who are never trained on: the full softmax, which scaling laws are fitted to, and an objective's own.

Every interaction of such a user but the first is predicted from those before it, in windows cut as training cuts them:
many more terms than one target a user, and so a loss that tells close models apart. Users weigh in by their
interactions, and intervals are taken over users, whose interactions depend on each other.

A contrastive loss is bound to how many windows a batch holds, so that the batches that runs were trained with would
compare their sizes: here every batch has as many windows, the newest of each user. Users of a batch depend on each
other, so that intervals are over batches; users that fill none are left out.

Shapes: U users, W windows, T tokens, V items, D width, C tokens of a chunk, B batches, P parts of the loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import NONE, Split
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.evaluation.metrics import chunks
from ray_userrep.evaluation.ranking import as_batch, newest
from ray_userrep.feed.batch import START
from ray_userrep.feed.windows import tiles
from ray_userrep.objectives.base import Draws, Objective
from ray_userrep.recipe.corpus import ColdUserConfig

_BATCH_TOKENS, _CHUNK_LOGITS = 8192, 2**22
_NUM_RESAMPLES, _CONFIDENCE = 1000, 0.95


class Likelihood(NamedTuple):
    """Summed loss in nats and number of predictions of each user, or of each batch of them."""

    loss_U: NDArray[np.float64]
    count_U: NDArray[np.int64]

    def summary(self) -> dict[str, float]:
        """The mean loss of a prediction with its bootstrap interval over users, or batches."""
        rng, num_users = np.random.default_rng(0), len(self.loss_U)
        drawn = np.zeros(_NUM_RESAMPLES)
        for part in chunks(num_users, _NUM_RESAMPLES):
            rows = rng.integers(0, num_users, (part.stop - part.start, num_users))
            drawn[part] = self.loss_U[rows].sum(1) / self.count_U[rows].sum(1)
        low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
        return {"mean": float(self.loss_U.sum() / self.count_U.sum()), "low": float(low), "high": float(high)}


def read_unseen(
    corpus: Corpus, split: Split, side_columns: Sequence[str] = (), max_users: int | None = None
) -> Sequences:
    """The whole sequences of the users that a cold-user split keeps for validation.

    Raises:
        UserError: the split is another, or keeps no user with two interactions.
    """
    if not isinstance(split.config, ColdUserConfig):
        raise UserError(
            f"split.rule {split.config.rule}: this loss needs users who are never trained on: --split.rule cold_user"
        )

    def read(number: int) -> Sequences:
        return _held_out(corpus.bucket(number, side_columns), split)

    users = Sequences.sample(read, corpus.manifest.num_buckets, max_users)
    if not users.num_users:
        raise UserError(f"no user of {corpus.uri} is held out for validation: raise split.valid_share")
    return users


def _held_out(bucket: Bucket, split: Split) -> Sequences:
    return sequences_of(bucket).take(np.flatnonzero(split.positions(bucket).valid_U != NONE))


def likelihood(encoder: UserEncoder, users: Sequences) -> Likelihood:
    """The loss of every interaction but each user's first, by a causal encoder that reads no token of its own."""
    row_W, start_W, length_W = tiles(np.maximum(users.lengths_U - 1, 0), encoder.max_len)
    loss_U, count_U = np.zeros(users.num_users), np.zeros(users.num_users, np.int64)
    order = np.argsort(length_W, kind="stable")
    run = np.cumsum(length_W[order]) // _BATCH_TOKENS
    with torch.inference_mode():
        table_VD = encoder.items(None).float()
    for rows in np.split(order, np.flatnonzero(np.diff(run)) + 1):
        owner_W = row_W[rows]
        place_T = ranges(users.offsets_U1[owner_W] + start_W[rows], length_W[rows])
        inputs = _windows(users, place_T, owner_W, length_W[rows])
        loss_T = _target_losses(encoder, table_VD, inputs, torch.from_numpy(users.items_N[place_T + 1]))
        owner_T = np.repeat(owner_W, length_W[rows])
        loss_U += np.bincount(owner_T, loss_T.double().cpu().numpy(), minlength=users.num_users)
        count_U += np.bincount(owner_T, minlength=users.num_users)
    return Likelihood(loss_U, count_U)


def _windows(
    users: Sequences, place_T: NDArray[np.int64], owner_W: NDArray[np.int64], length_W: NDArray[np.int64]
) -> Sequences:
    offsets_W1 = np.concatenate([[0], np.cumsum(length_W)])
    side = {name: column[place_T] for name, column in users.side_N.items()}
    return Sequences(users.items_N[place_T], users.times_N[place_T], offsets_W1, users.users_U[owner_W], side_N=side)


def _target_losses(encoder: UserEncoder, table_VD: Tensor, inputs: Sequences, targets_T: Tensor) -> Tensor:
    """The loss of each target, `[T]`."""
    with torch.inference_mode():
        states_TD = encoder.states(as_batch(inputs).to(encoder.device)).float()
        chunk = max(1, _CHUNK_LOGITS // len(table_VD))
        parts = zip(states_TD.split(chunk), targets_T.to(encoder.device).split(chunk), strict=True)
        return torch.cat([F.cross_entropy(h_CD @ table_VD.T, t_C, reduction="none") for h_CD, t_C in parts])


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
