"""The loss of unseen users against one prediction at a time."""

import numpy as np
import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.likelihood import likelihood, read_unseen
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.corpus import ColdUserConfig, LeaveOneOutConfig
from ray_userrep.recipe.encoder import EncoderConfig
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


def test_a_split_that_trains_on_everyone_is_refused(corpus, encoder):
    with pytest.raises(UserError, match="never trained on"):
        read_unseen(corpus, resolve(LeaveOneOutConfig(), corpus))
