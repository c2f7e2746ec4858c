"""PTUPCDR and what it was compared with, in the form of the authors' code: no means, no biases, vectors drawn N(0, 1).

TGT factorises the target's training ratings: a test user's vector is the one that was drawn. CMF has one table of users
for both logs. EMCDR and PTUPCDR bring the source's factors over. Ten epochs of Adam each, squared error, and the last
epoch counts; the authors' code takes the best one on test, for MAE and RMSE apart. Test users are those of the task.

Shapes: R ratings, B of a batch, U users, L liked items, D factors.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.transfer.bridges import PersonalBridge
from ray_userrep.transfer.tasks.rated import Lists, newest_liked

WIDTH, HIDDEN, EPOCHS, RATE, LIKED_ABOVE, NUM_LIKED = 10, 50, 10, 0.01, 3.0, 20
Columns = tuple[Tensor, Tensor, Tensor]  # users, items, ratings, `[R]` each


class Log:
    """A log's ratings, with users coded among those of both logs."""

    def __init__(self, corpus: Corpus, users_U: NDArray[np.int64]) -> None:
        known = Sequences.concat([sequences_of(corpus.bucket(number, ("rating",))) for number in corpus.buckets()])
        users_R = np.repeat(np.searchsorted(users_U, known.users_U), known.lengths_U)
        self.columns: Columns = (
            torch.from_numpy(users_R),
            torch.from_numpy(known.items_N),
            torch.from_numpy(known.side_N["rating"].astype(np.float32)),
        )
        self.num_items = corpus.manifest.num_items
        self._liked = newest_liked(known, LIKED_ABOVE, NUM_LIKED)
        self._codes_U = np.searchsorted(users_U, known.users_U)

    def taken(self, is_taken_R: Tensor) -> Columns:
        """Some of the ratings."""
        users_R, items_R, values_R = self.columns
        return users_R[is_taken_R], items_R[is_taken_R], values_R[is_taken_R]

    def liked(self, num_users: int) -> Lists:
        """The newest liked items of each user of both logs."""
        lengths = np.zeros(num_users, np.int64)
        lengths[self._codes_U] = np.diff(self._liked.offsets_U1)
        order = np.argsort(self._codes_U)
        return Lists(np.append(0, np.cumsum(lengths)), self._liked.take(order).values_N)


def hashes(corpus: Corpus) -> NDArray[np.int64]:
    """All users of a log."""
    return np.concatenate([corpus.outline(number).user_hash_U for number in corpus.buckets()])


def trained(parameters: list[nn.Parameter], loss: Callable[[Tensor], Tensor], num_rows: int, batch: int) -> None:
    """Ten epochs of Adam over rows in a drawn order."""
    optimizer = torch.optim.Adam(parameters, RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(num_rows).split(batch):
            optimizer.zero_grad()
            loss(rows).backward()
            optimizer.step()


def factorised(columns: Columns, num_users: int, num_items: int) -> tuple[Tensor, Tensor]:
    """Tables of users and items whose products are the ratings."""
    tables = [nn.Parameter(torch.randn(number, WIDTH)) for number in (num_users, num_items)]
    users_R, items_R, values_R = columns

    def loss(rows: Tensor) -> Tensor:
        told_B = (tables[0][users_R[rows]] * tables[1][items_R[rows]]).sum(1)
        return nn.functional.mse_loss(told_B, values_R[rows])

    trained(tables, loss, len(values_R), 256)
    return tables[0].detach(), tables[1].detach()


def legacy(source: Corpus, target: Corpus, tested_U: NDArray[np.int64], seed: int) -> dict[str, dict[str, float]]:
    """MAE and RMSE of each system on the target ratings of the test users (stable hashes)."""
    torch.manual_seed(seed)
    users_U = np.unique(np.concatenate([hashes(source), hashes(target)]))
    num_users, first, second = len(users_U), Log(source, users_U), Log(target, users_U)
    is_test_R = torch.from_numpy(np.isin(users_U, tested_U))[second.columns[0]]
    training, asked = second.taken(~is_test_R), second.taken(is_test_R)
    both = zip(first.columns, (training[0], training[1] + first.num_items, training[2]), strict=True)
    joint = factorised(tuple(map(torch.cat, both)), num_users, first.num_items + second.num_items)  # type: ignore[arg-type]
    from_UD, liked_VD = factorised(first.columns, num_users, first.num_items)
    towards_UD, items_VD = factorised(training, num_users, second.num_items)
    shared = torch.from_numpy(np.intersect1d(training[0].numpy(), first.columns[0].numpy()))
    linear = nn.Linear(WIDTH, WIDTH, bias=False)
    trained(
        [*linear.parameters()],
        lambda rows: nn.functional.mse_loss(linear(from_UD[shared[rows]]), towards_UD[shared[rows]]),
        len(shared),
        64,
    )
    told_UD = {
        "TGT": (towards_UD, items_VD),
        "CMF": (joint[0], joint[1][first.num_items :]),
        "EMCDR": (linear(from_UD).detach(), items_VD),
        "PTUPCDR": (personal(first, from_UD, liked_VD, items_VD, training, shared), items_VD),
    }
    return {name: errors(*tables, asked) for name, tables in told_UD.items()}


def personal(
    first: Log, from_UD: Tensor, liked_VD: Tensor, items_VD: Tensor, training: Columns, shared: Tensor
) -> Tensor:
    """All users brought over by a meta network, which alone learns, from the ratings of users of both logs."""
    bridge, lists = PersonalBridge(WIDTH, WIDTH, HIDDEN, WIDTH), first.liked(len(from_UD))
    bridge.outer.reset_parameters()
    rows_R = torch.isin(training[0], shared).nonzero()[:, 0]

    def mapped(users: Tensor) -> Tensor:
        of_L, place_L = lists.of(users.numpy())
        out: Tensor = bridge(from_UD[users], liked_VD[lists.values_N[place_L]], torch.from_numpy(of_L))
        return out

    def loss(rows: Tensor) -> Tensor:
        users_B, items_B, values_B = (column[rows_R[rows]] for column in training)
        return nn.functional.mse_loss((mapped(users_B) * items_VD[items_B]).sum(1), values_B)

    trained([*bridge.parameters()], loss, len(rows_R), 128)
    return mapped(torch.arange(len(from_UD))).detach()


def errors(users_UD: Tensor, items_VD: Tensor, asked: Columns) -> dict[str, float]:
    """MAE and RMSE over all ratings that are asked about."""
    missed_R = asked[2] - (users_UD[asked[0]] * items_VD[asked[1]]).sum(1)
    return {"mae": float(missed_R.abs().mean()), "rmse": float(missed_R.square().mean().sqrt())}
