"""What is frozen is the same in training, validation and later: no dropout, no noise on a gate, by embedder and arm."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.transfer import TransferConfig
from ray_userrep.training.step import TrainModel
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.labels import UserLabels

NUM_ITEMS, WIDTH = 12, 16
USERS = np.arange(3)
BATCH = Batch.of([[1, 2, 3, 4], [5, 6], [7]])
EMBEDDERS = {
    "id": {"kind": "id"},
    "text": {"kind": "text"},
    "whitened_moe": {"kind": "whitened_moe", "num_experts": 3},
    "words": {"kind": "words", "num_rows": 64},
    "side": {"kind": "side", "num_rows": 16},
    "hashed": {"kind": "hashed", "num_rows": 32, "num_hashes": 2},
    "projected": {"kind": "projected", "table_width": 6},
    "sum": {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "whitened_moe", "num_experts": 2}]},
}


def catalogue() -> ItemTable:
    vectors = np.random.default_rng(0).normal(size=NUM_ITEMS * 6).astype(np.float32)
    columns = {
        "item_id": range(NUM_ITEMS),
        "count": [1] * NUM_ITEMS,
        "category": [f"c{i % 3}" for i in range(NUM_ITEMS)],
        "text": [f"thing no {i}" for i in range(NUM_ITEMS)],
        "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 6),
    }
    return ItemTable(pa.table(columns))


def vectors_of(encoder) -> np.ndarray:
    return encoder(BATCH).detach().double().numpy()


def adapted(arm: str, embedder: str) -> TrainModel:
    """An arm's model as a fit trains it, over an encoder with dropout."""
    torch.manual_seed(0)
    backbone = {"kind": "transformer", "num_heads": 2, "dropout": 0.5}
    fields = {"width": WIDTH, "dropout": 0.5, "items": EMBEDDERS[embedder], "backbone": backbone}
    chosen = build_arm(arm, TransferConfig(hidden=4))
    encoder = chosen.apply(build_encoder(EncoderConfig.model_validate(fields), catalogue(), 8).train())
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(chosen.trainable(name))
    known = KnownLabels(USERS, np.array([0.0, 1.0, 1.0]), 2)
    return TrainModel(encoder, UserLabels(known, WIDTH, vectors_of, np.zeros(3, np.int64), chosen.head.hidden))


@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("arm", ["head_only", "frozen_mlp"])
def test_a_frozen_user_has_one_vector_before_and_after_a_validation(arm, embedder):
    model = adapted(arm, embedder)
    seen = [model.encoder(BATCH)]
    for is_training in (True, False, True):
        model.train(is_training)
        assert model.objective.training == is_training
        seen += [model.encoder(BATCH), model.encoder(BATCH)]
    assert all(torch.equal(vectors, seen[0]) for vectors in seen)


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_the_loss_of_a_frozen_encoder_is_that_of_its_vectors(embedder):
    model = adapted("head_only", embedder)
    views = model.objective.views(BATCH, Draws(0, 0, 0))
    loss, _ = model(views, torch.ones(1))
    vectors = model.encoder.eval()(BATCH)
    expected = torch.nn.functional.cross_entropy(
        model.objective.head(vectors), torch.tensor([0, 1, 1]), reduction="sum"
    )
    torch.testing.assert_close(loss, expected)


def test_what_trains_is_in_training_mode_again_after_a_validation():
    model = adapted("full", "whitened_moe")
    model.eval()
    model.train()
    assert model.encoder.training and not torch.equal(model.encoder(BATCH), model.encoder(BATCH))
