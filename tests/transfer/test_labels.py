"""Labels as an objective: the plain loss of a head on the user vector, whatever batches it comes in."""

import numpy as np
import torch
from torch.nn import functional as F

from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.transfer.labels import UserLabels

USERS = np.array([7, -3, 11, 5])
SEQUENCES = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
RNG = Draws(0, 0, 0)


def labels_of(encoder, rows, labels, num_classes, hidden=0, read=None):
    read = read or (lambda frozen: frozen(Batch.of([SEQUENCES[row] for row in rows])).detach().double().numpy())
    known = KnownLabels(USERS[rows], np.asarray(labels, float), num_classes)
    return UserLabels(known, encoder.width, read, np.zeros(len(rows), np.int64), hidden)


def losses(objective, encoder, rows):
    batch = Batch.of([SEQUENCES[row] for row in rows], USERS[rows])
    views = objective.views(batch, RNG)
    return objective(encoder, views).sums_P, objective.counts(views)


def test_classes_are_the_plain_cross_entropy(make_encoder):
    encoder, labels = make_encoder(), np.array([0.0, 2.0, 1.0, 2.0])
    objective = labels_of(encoder, range(4), labels, 3, hidden=4)
    vectors = encoder(Batch.of(SEQUENCES))
    logits = objective.head[2](F.gelu(objective.head[0](vectors)))
    whole, count = losses(objective, encoder, [2, 0, 3, 1])
    expected = F.cross_entropy(logits, torch.tensor([0, 2, 1, 2]), reduction="sum")
    assert torch.allclose(whole[0], expected, atol=1e-5) and count.tolist() == [4]
    parts = [losses(objective, encoder, rows)[0] for rows in ([1], [0, 2, 3])]
    assert torch.allclose(sum(parts), whole, atol=1e-5)
    assert torch.allclose(objective.head.scores(vectors), logits.softmax(-1), atol=1e-6)


def test_values_are_predicted_in_their_own_unit(make_encoder):
    encoder, values = make_encoder(), np.array([1000.0, 3000.0, 2000.0, 6000.0])
    objective = labels_of(encoder, range(4), values, 0)
    vectors = encoder(Batch.of(SEQUENCES))
    predicted = objective.head.scores(vectors)
    standard = (torch.from_numpy(values) - values.mean()) / values.std()
    assert torch.allclose(predicted, objective.head(vectors)[:, 0] * values.std() + values.mean(), atol=1e-2)
    expected = F.mse_loss(objective.head(vectors)[:, 0], standard.float(), reduction="sum")
    assert torch.allclose(losses(objective, encoder, [0, 1, 2, 3])[0][0], expected, atol=1e-4)


def test_a_user_without_a_label_and_a_filler(make_encoder):
    encoder = make_encoder()
    objective = labels_of(encoder, range(2), [0, 1], 2)
    some, count = losses(objective, encoder, [0, 2])
    alone, _ = losses(objective, encoder, [0])
    assert torch.allclose(some, alone) and count.tolist() == [1]
    filler = Batch.of([SEQUENCES[0]], USERS[:1])
    (view,) = objective.views(Batch(**{**filler.__dict__, "weight": 0.0}), RNG)
    assert objective.counts([view]).item() == 0 and objective(encoder, [view]).sums_P.item() == 0


def test_a_frozen_encoder_reads_each_user_once_and_says_the_same(make_encoder):
    encoder, labels = make_encoder().requires_grad_(False), np.array([0.0, 2.0, 1.0, 2.0])
    known = [3, 0, 1]  # row 2 has no label
    read = []

    def once(frozen):
        read.append(frozen)
        return frozen(Batch.of([SEQUENCES[row] for row in known])).double().numpy()

    objective = labels_of(encoder, known, labels[known], 3, read=once)
    shown = []
    encoder.register_forward_hook(lambda module, batch, out: shown.append(len(batch[0].users_B)))
    batches = ([2], [0, 2], [0, 1], [1, 0], [3, 2], [3], [2, 1, 3])
    found = [losses(objective, encoder, rows)[0] for rows in batches]
    assert read == [encoder] and shown == [3]
    vectors = encoder(Batch.of(SEQUENCES))
    for rows, loss in zip(batches, found, strict=True):
        of = [row for row in rows if row in known]
        expected = F.cross_entropy(objective.head(vectors[of]), torch.from_numpy(labels[of]).long(), reduction="sum")
        assert torch.allclose(loss[0], expected, atol=1e-6)
    loss.sum().backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_what_trains_is_read_anew(make_encoder):
    encoder = make_encoder()
    objective = labels_of(encoder, range(4), [0, 1, 1, 0], 2)
    before, _ = losses(objective, encoder, [0, 1])
    made = [objective.once(encoder, "test", lambda: encoder(Batch.of(SEQUENCES)).sum()) for _ in range(2)]
    assert made[0] is not made[1]
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(losses(objective, encoder, [0, 1])[0], before)
    encoder.requires_grad_(False)
    made = [objective.once(encoder, "test", lambda: encoder(Batch.of(SEQUENCES)).sum()) for _ in range(2)]
    assert made[0] is made[1]
