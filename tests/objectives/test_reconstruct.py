"""Oracle vectors from a few neighbours: the loss by its formula, what counts, and that cold rows are never read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.reconstruct import Oracle, Reconstruct
from ray_userrep.recipe.encoder import EncoderConfig

WIDTH, DRAWS = 8, Draws(0, 0, 0)
USERS = np.array([3, 5, 9])
RNG = np.random.default_rng(0)


def oracle_of(num_items: int) -> Oracle:
    """Three users and the even items have vectors; the others' rows are NaN."""
    items_VD = RNG.normal(size=(num_items, WIDTH)).astype(np.float32)
    items_VD[1::2] = np.nan
    return Oracle(USERS, RNG.normal(size=(3, WIDTH)).astype(np.float32), items_VD)


@pytest.fixture
def encoder(table) -> UserEncoder:
    torch.manual_seed(0)
    fields = {"width": WIDTH, "dropout": 0.0, "backbone": {"kind": "gnn", "num_heads": 2, "dropout": 0.0}}
    graph = UserItemGraph.of(RNG.choice(USERS, 40), RNG.choice(np.arange(0, 20, 2), 40), 20)
    return build_encoder(EncoderConfig.model_validate(fields), table, 4, graph=graph)


BATCH = Batch.of([[0, 1, 2], [4], [5, 7], [6, 8]], np.array([5, 4, 9, 3]))  # user 4 has no vector


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def test_the_loss_is_half_of_one_minus_the_cosine_of_those_that_are_warm(encoder):
    oracle = oracle_of(20)
    objective = Reconstruct(oracle)
    (view,) = views = objective.views(DRAWS.numbered(BATCH), DRAWS)
    items = view.labels["item"]
    assert all(item in row for item, row in zip(items.tolist(), ([0, 1, 2], [4], [5, 7], [6, 8]), strict=True))
    with torch.no_grad():
        users_BD, items_BD = encoder(view), encoder.item_states(items, view)
        found = objective(encoder, views).sums_P
    users = [
        (1 - cosine(users_BD[b], torch.from_numpy(oracle.vectors_UD[row]))) / 2 for b, row in ((0, 1), (2, 2), (3, 0))
    ]
    warm = [place for place, item in enumerate(items.tolist()) if item % 2 == 0]
    told = [(1 - cosine(items_BD[b], torch.from_numpy(oracle.items_VD[int(items[b])]))) / 2 for b in warm]
    torch.testing.assert_close(found, torch.tensor([sum(users), sum(told)]))
    assert objective.counts(views).tolist() == [3, len(warm)]


def test_cold_rows_are_never_read_and_fillers_count_nothing(encoder):
    """The rows of cold items are NaN; one that was read would be seen in the loss or the gradients."""
    objective = Reconstruct(oracle_of(20))
    views = objective.views(Batch.of([[1, 3, 5], [7]], np.array([4, 6])), DRAWS)
    sums_P = objective(encoder, views).sums_P
    sums_P.sum().backward()
    assert sums_P.tolist() == objective.counts(views).tolist() == [0, 0]
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
    filler = objective.views(replace(BATCH, weight=0.0), DRAWS)
    assert objective.counts(filler).tolist() == objective(encoder, filler).sums_P.tolist() == [0, 0]


def test_another_epoch_draws_other_items_and_neighbours(encoder):
    objective = Reconstruct(oracle_of(20))

    def found(epoch, users):
        rng = Draws(0, epoch, epoch)
        (view,) = objective.views(rng.numbered(Batch.of([[0, 2, 4, 6]], np.array([users]))), rng)
        with torch.no_grad():
            return view.labels["item"].item(), encoder(view)

    drawn = [found(epoch, 5) for epoch in range(8)]
    assert len({item for item, _ in drawn}) > 1 and not torch.allclose(drawn[0][1], drawn[1][1])
    assert torch.equal(found(3, 5)[1], drawn[3][1])
