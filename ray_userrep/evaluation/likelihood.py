"""The full-softmax loss of held-out users: what scaling laws are fitted to.

Every interaction of a held-out user but the first is predicted from those before it, in windows cut as training cuts
them: many more terms than one target a user, and so a loss that tells close models apart. Users weigh in by their
interactions, and intervals are taken over users, whose interactions depend on each other.

Shapes: U users, T tokens, V items, D width, N interactions.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.corpus.plan import cut
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.data import Sequences
from ray_userrep.evaluation.encoder_ranks import as_batch

_BATCH_TOKENS, _CHUNK_LOGITS = 8192, 2**22
_NUM_RESAMPLES, _CONFIDENCE = 1000, 0.95


class Likelihood(NamedTuple):
    """Summed loss in nats and number of predictions of each user."""

    loss_U: NDArray[np.float64]
    count_U: NDArray[np.int64]

    def summary(self) -> dict[str, float]:
        """The mean loss of a prediction with its bootstrap interval over users."""
        rng = np.random.default_rng(0)
        rows = rng.integers(0, len(self.loss_U), (_NUM_RESAMPLES, len(self.loss_U)))
        drawn = self.loss_U[rows].sum(1) / self.count_U[rows].sum(1)
        low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
        return {"mean": float(self.loss_U.sum() / self.count_U.sum()), "low": float(low), "high": float(high)}


def likelihood(encoder: UserEncoder, users: Sequences) -> Likelihood:
    """The loss of every interaction but each user's first; the encoder must be causal and read no other token."""
    row_W, start_W, targets_W = cut(np.maximum(users.lengths_U - 1, 0), encoder.max_len)
    loss_U, count_U = np.zeros(users.num_users), np.zeros(users.num_users, np.int64)
    order = np.argsort(targets_W, kind="stable")
    run = np.cumsum(targets_W[order]) // _BATCH_TOKENS
    for rows in np.split(order, np.flatnonzero(np.diff(run)) + 1):
        windows = users.windows(row_W[rows], start_W[rows], targets_W[rows] + 1)
        last_N = np.zeros(len(windows.items_N), bool)
        last_N[windows.offsets_U1[1:] - 1] = True
        is_first_N = np.roll(last_N, 1)
        inputs = windows.filter(~last_N)
        loss_T = _losses(encoder, as_batch(inputs), torch.from_numpy(windows.items_N[~is_first_N]))
        owner_T = np.repeat(row_W[rows], targets_W[rows])
        loss_U += np.bincount(owner_T, loss_T.double().cpu().numpy(), minlength=users.num_users)
        count_U += np.bincount(owner_T, minlength=users.num_users)
    return Likelihood(loss_U, count_U)


def _losses(encoder: UserEncoder, inputs: Batch, targets_T: Tensor) -> Tensor:
    """The loss of each target, `[T]`."""
    with torch.inference_mode():
        states_TD = encoder.states(inputs.to(encoder.device)).float()
        table_VD = encoder.items(None).float()
        chunk = max(1, _CHUNK_LOGITS // len(table_VD))
        parts = zip(states_TD.split(chunk), targets_T.to(encoder.device).split(chunk), strict=True)
        return torch.cat([F.cross_entropy(h_CD @ table_VD.T, t_C, reduction="none") for h_CD, t_C in parts])
