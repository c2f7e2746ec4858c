"""Losses of unseen users: the full softmax one prediction at a time, a contrastive one a pair of vectors at a time."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.splits import resolve
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.losses import WINDOWS, Likelihood, contrast, likelihood, read_unseen
from ray_userrep.evaluation.ranking import as_batch
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.corpus import ColdUserConfig, LeaveOneOutConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.objective import ContrastiveConfig
from tests.training.conftest import write_corpus

MAX_LEN = 8


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(str(tmp_path / "corpus"))


@pytest.fixture
def encoder(corpus):
    torch.manual_seed(0)
    built = build_encoder(EncoderConfig(width=16), corpus.items(), MAX_LEN).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.3)
    return built


def one_by_one(encoder, sequence):
    """Every item but the first from those before it in its window; windows are cut from the newest back."""
    losses, end = [], len(sequence) - 1
    while end > 0:
        start = max(0, end - MAX_LEN)
        for place in range(start, end):
            state = encoder.states(Batch.of([sequence[start : place + 1]]))[-1]
            losses.append(-torch.log_softmax(encoder.items(None) @ state, 0)[sequence[place + 1]].item())
        end = start
    return losses


def test_it_is_the_mean_over_every_prediction_for_users_never_trained_on(corpus, encoder):
    split = resolve(ColdUserConfig(valid_share=0.2), corpus)
    users = read_unseen(corpus, split, encoder.side_columns)
    measured = likelihood(encoder, users)
    trained = np.concatenate([b.user_hash_U[split.training(b)[1] > 0] for b in map(corpus.bucket, corpus.buckets())])
    assert users.num_users > 10 and not set(users.users_U) & set(trained)
    with torch.no_grad():
        for user, sequence in enumerate(np.split(users.items_N, users.offsets_U1[1:-1])):
            expected = one_by_one(encoder, sequence.tolist())
            assert measured.count_U[user] == len(expected) == len(sequence) - 1
            assert measured.loss_U[user] == pytest.approx(sum(expected), rel=1e-4)
    summary = measured.summary()
    assert summary["mean"] == pytest.approx(measured.loss_U.sum() / measured.count_U.sum())
    assert summary["low"] < summary["mean"] < summary["high"]


def test_users_of_a_loss_are_bounded(corpus):
    split = resolve(ColdUserConfig(valid_share=0.2), corpus)
    every, few = (read_unseen(corpus, split, max_users=most) for most in (None, 5))
    assert few.num_users == 5 and set(few.users_U) < set(every.users_U) and every.num_users > 10


def test_the_interval_of_many_users_is_drawn_in_parts_that_are_the_same_draws():
    rng = np.random.default_rng(3)
    measured = Likelihood(rng.random(3000), rng.integers(1, 9, 3000))
    rows = np.random.default_rng(0).integers(0, 3000, (1000, 3000))
    drawn = measured.loss_U[rows].sum(1) / measured.count_U[rows].sum(1)
    found = measured.summary()
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_a_split_that_trains_on_everyone_is_refused(corpus, encoder):
    with pytest.raises(UserError, match="never trained on"):
        read_unseen(corpus, resolve(LeaveOneOutConfig(), corpus))


NUM_ITEMS, WINDOW, NUM_USERS, TEMPERATURE = 30, 8, 2 * WINDOWS + 5, 0.2
TABLE = ItemTable(pa.table({"item_id": range(NUM_ITEMS), "count": [1] * NUM_ITEMS}))
CONFIG = EncoderConfig(width=8, readout="mean", backbone=TransformerConfig(causal=False))


@pytest.fixture
def contrastive_encoder():
    torch.manual_seed(0)
    built = build_encoder(CONFIG, TABLE, WINDOW).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.5)
    return built


def users_of(count):
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 12, count))])
    items = rng.integers(0, NUM_ITEMS, offsets[-1])
    return Sequences(items, np.arange(offsets[-1]), offsets, np.arange(count))


def objective_of(**fields):
    config = ContrastiveConfig(temperature=TEMPERATURE, **fields)
    return build_objective(config, CONFIG, ObjectiveData(TABLE, (), lambda: np.ones(NUM_ITEMS, np.int64)))


def test_it_is_the_loss_of_each_window_among_those_of_its_batch(contrastive_encoder):
    users = users_of(NUM_USERS)
    found = contrast(
        objective_of(views="subsequences", share=1 - 1e-9), contrastive_encoder, users
    )  # both looks: the window
    assert found.count_U.tolist() == [WINDOWS, WINDOWS]
    for number, loss in enumerate(found.loss_U):
        rows = range(number * WINDOWS, (number + 1) * WINDOWS)
        newest = [users.items_N[users.offsets_U1[u] : users.offsets_U1[u + 1]][-WINDOW:] for u in rows]
        offsets = np.concatenate([[0], np.cumsum([len(w) for w in newest])])
        batch = as_batch(Sequences(np.concatenate(newest), np.arange(offsets[-1]), offsets, np.arange(WINDOWS)))
        with torch.no_grad():
            x_ND = F.normalize(contrastive_encoder(batch), dim=1)
        expected = 0.0
        for own in x_ND:
            scores = [math.exp(float(own @ other) / TEMPERATURE) for other in x_ND]
            expected -= math.log(math.exp(1 / TEMPERATURE) / sum(scores))
        assert loss == pytest.approx(expected, rel=1e-4)


def test_it_is_the_same_at_every_call_and_about_the_logarithm_of_the_batch_where_nothing_is_known(contrastive_encoder):
    objective = objective_of(views="subsequences", share=0.5)
    first, second = (contrast(objective, contrastive_encoder, users_of(NUM_USERS)).summary() for _ in range(2))
    assert first == second and first["low"] <= first["mean"] <= first["high"]
    with torch.no_grad():
        for parameter in contrastive_encoder.items.parameters():
            parameter.fill_(0.1)  # all items alike
    assert contrast(objective, contrastive_encoder, users_of(NUM_USERS)).summary()["mean"] == pytest.approx(
        math.log(WINDOWS)
    )


def test_too_few_users_are_refused(contrastive_encoder):
    with pytest.raises(UserError, match=r"raise split\.valid_share"):
        contrast(objective_of(), contrastive_encoder, users_of(2 * WINDOWS - 1))
