"""Labels in pretraining: several heads on one vector, each over the users of whom its label is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.labels import KnownLabels, Labels
from ray_userrep.recipe.encoder import EncoderConfig

USERS = np.array([7, -3, 11, 5])
SEQUENCES = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
RNG = Draws(0, 0, 0)
KNOWN = {
    "half": KnownLabels(USERS[[2, 0, 1]], np.array([1.0, 0.0, 2.0]), 3),
    "age": KnownLabels(USERS[[0, 3]], np.array([20.0, 50.0]), 0),
}


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=8, readout="max"), table, 8).eval()


def losses(objective, encoder, rows, weight=1.0):
    batch = Batch.of([SEQUENCES[row] for row in rows], USERS[rows])
    views = objective.views(replace(batch, weight=weight), RNG)
    return objective(encoder, views).sums_P, objective.counts(views)


def test_each_part_is_the_plain_loss_of_the_users_who_have_the_label(encoder):
    objective = Labels(KNOWN, encoder.width)
    assert objective.parts == ("label_half", "label_age") and objective.weights == (1.0, 1.0)
    vectors = encoder(Batch.of(SEQUENCES))
    half = F.cross_entropy(objective.heads[0](vectors[:3]), torch.tensor([0, 2, 1]), reduction="sum")
    values, asked = objective.heads[1](vectors[[0, 3]])[:, 0], torch.tensor([-1.0, 1.0])
    age = F.huber_loss(values, asked, reduction="sum")
    whole, counts = losses(objective, encoder, [3, 1, 0, 2])
    torch.testing.assert_close(whole, torch.stack([half, age]))
    assert counts.tolist() == [3, 2]
    parts = [losses(objective, encoder, rows)[0] for rows in ([1], [0, 2, 3])]
    torch.testing.assert_close(sum(parts), whole)


def test_users_without_a_label_and_fillers_add_nothing(encoder):
    objective = Labels(KNOWN, encoder.width)
    sums, counts = losses(objective, encoder, [3])
    assert counts.tolist() == [0, 1] and sums[0].item() == 0
    (gradient,) = torch.autograd.grad(sums[0], objective.heads[0][0].weight)
    assert not gradient.any()
    filler, none = losses(objective, encoder, [0, 1, 2, 3], weight=0.0)
    assert filler.tolist() == none.tolist() == [0.0, 0.0]
