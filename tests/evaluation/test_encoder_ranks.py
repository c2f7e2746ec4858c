"""Ranking with an encoder against the vectors it gives for raw ids."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.evaluation import ranking
from ray_userrep.evaluation.encoder_ranks import encoder_scorer
from ray_userrep.evaluation.ranking import ranks
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ITEMS, MAX_LEN = 25, 4


def built():
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": np.arange(NUM_ITEMS) * 10, "count": np.ones(NUM_ITEMS, np.int64)}))
    config = EncoderConfig.model_validate({"width": 16, "backbone": {"kind": "transformer", "num_heads": 2}})
    return build_encoder(config, table, MAX_LEN).eval()


def test_the_catalogue_is_made_once_for_all_users(random_histories, monkeypatch):
    encoder, asked = built(), []
    encoder.items.register_forward_hook(lambda module, ids, vectors: asked.append(ids[0]))
    monkeypatch.setattr(ranking, "_CHUNK_SCORES", 2 * NUM_ITEMS)
    ranks(encoder_scorer(encoder), random_histories(20, NUM_ITEMS), NUM_ITEMS, False)
    assert sum(ids is None for ids in asked) == 1 and len(asked) == 11


def test_scores_are_products_of_user_and_item_vectors(random_histories):
    encoder = built()
    histories = random_histories(20, NUM_ITEMS)
    bounds = zip(histories.offsets_U1, histories.offsets_U1[1:], strict=False)
    lists = [(histories.items_N[first:last] * 10).tolist() for first, last in bounds]
    assert max(map(len, lists)) > MAX_LEN
    expected = encoder.encode(lists) @ encoder.items(None).detach().numpy().T
    scores = encoder_scorer(encoder)(histories)
    assert not scores.requires_grad
    assert scores.numpy() == pytest.approx(expected, abs=1e-5)
    best = np.argsort(-scores.numpy(), axis=1, kind="stable")
    places = (best == histories.targets_U[:, None]).argmax(1) + 1
    assert ranks(encoder_scorer(encoder), histories, NUM_ITEMS, False).tolist() == places.tolist()
