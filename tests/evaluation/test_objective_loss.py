"""The contrastive loss of held-out users against the formula, one pair of vectors at a time."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.data import Sequences
from ray_userrep.evaluation.encoder_ranks import as_batch
from ray_userrep.evaluation.objective_loss import WINDOWS, contrast
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.objective import ContrastiveConfig

NUM_ITEMS, MAX_LEN, NUM_USERS, TEMPERATURE = 30, 8, 2 * WINDOWS + 5, 0.2
TABLE = ItemTable(pa.table({"item_id": range(NUM_ITEMS), "count": [1] * NUM_ITEMS}))
CONFIG = EncoderConfig(width=8, readout="mean", backbone=TransformerConfig(causal=False))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    built = build_encoder(CONFIG, TABLE, MAX_LEN).eval()
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


def test_it_is_the_loss_of_each_window_among_those_of_its_batch(encoder):
    users = users_of(NUM_USERS)
    found = contrast(objective_of(views="subsequences", share=1 - 1e-9), encoder, users)  # both looks: the window
    assert found.count_U.tolist() == [WINDOWS, WINDOWS]
    for number, loss in enumerate(found.loss_U):
        rows = range(number * WINDOWS, (number + 1) * WINDOWS)
        newest = [users.items_N[users.offsets_U1[u] : users.offsets_U1[u + 1]][-MAX_LEN:] for u in rows]
        offsets = np.concatenate([[0], np.cumsum([len(w) for w in newest])])
        batch = as_batch(Sequences(np.concatenate(newest), np.arange(offsets[-1]), offsets, np.arange(WINDOWS)))
        with torch.no_grad():
            x_ND = F.normalize(encoder(batch), dim=1)
        expected = 0.0
        for own in x_ND:
            scores = [math.exp(float(own @ other) / TEMPERATURE) for other in x_ND]
            expected -= math.log(math.exp(1 / TEMPERATURE) / sum(scores))
        assert loss == pytest.approx(expected, rel=1e-4)


def test_it_is_the_same_at_every_call_and_about_the_logarithm_of_the_batch_where_nothing_is_known(encoder):
    objective = objective_of(views="subsequences", share=0.5)
    first, second = (contrast(objective, encoder, users_of(NUM_USERS)).summary() for _ in range(2))
    assert first == second and first["low"] <= first["mean"] <= first["high"]
    with torch.no_grad():
        for parameter in encoder.items.parameters():
            parameter.fill_(0.1)  # all items alike
    assert contrast(objective, encoder, users_of(NUM_USERS)).summary()["mean"] == pytest.approx(math.log(WINDOWS))


def test_too_few_users_are_refused(encoder):
    with pytest.raises(UserError, match=r"raise split\.valid_share"):
        contrast(objective_of(), encoder, users_of(2 * WINDOWS - 1))
