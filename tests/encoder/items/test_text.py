"""Items from texts against their formulas: the mixture of whitenings with its noise, and the tower over words."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.text import WhitenedMoEItems, WordItems
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import WordItemsConfig

NUM_ITEMS, TEXT_WIDTH, WIDTH, EXPERTS = 7, 5, 4, 3


def table(num_items=NUM_ITEMS):
    vectors = np.random.default_rng(0).normal(size=(num_items, TEXT_WIDTH)).astype(np.float32)
    columns = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), TEXT_WIDTH)
    return ItemTable(pa.table({"item_id": np.arange(num_items), "count": np.ones(num_items), "text_vector": columns}))


@pytest.fixture
def items():
    torch.manual_seed(0)
    made = WhitenedMoEItems(TEXT_WIDTH, WIDTH, EXPERTS, dropout=0.0)
    made.attach(table())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def test_vectors_are_whitenings_mixed_by_the_gate(items):
    items.eval()
    x = table().text_vectors()
    weights = {name: value.detach().numpy() for name, value in items.named_parameters()}
    for item in range(NUM_ITEMS):
        scores = weights["gate.weight"] @ x[item]
        shares = np.exp(scores) / np.exp(scores).sum()
        expected = sum(shares[g] * weights["weight"][g] @ (x[item] - weights["centres"][g]) for g in range(EXPERTS))
        np.testing.assert_allclose(items(torch.tensor([item]))[0].detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_gate_is_noisy_in_training_alone_and_a_seed_draws_it_again(items):
    ids = torch.arange(NUM_ITEMS)
    assert torch.equal(items.eval()(ids), items(ids))
    items.train()
    torch.manual_seed(5)
    first, second = items(ids), items(ids)
    torch.manual_seed(5)
    assert torch.equal(items(ids), first) and not torch.equal(first, second)


def test_noise_has_the_spread_of_the_formula(items):
    x = torch.from_numpy(table().text_vectors().copy())[:1].expand(20_000, -1)
    items.train()
    logits = items._gates(x).log().detach()
    logits = logits - logits[:, :1]  # a softmax forgets what its logits share
    spread = F.softplus(items.noise(x[0])) + 0.01
    expected = (spread[0] ** 2 + spread[1:] ** 2).sqrt()
    torch.testing.assert_close(logits[:, 1:].std(0), expected.detach(), rtol=0.03, atol=0)


def test_experts_learn_apart(items):
    items.train()(None).square().sum().backward()
    for name, parameter in items.named_parameters():
        assert parameter.grad is not None and (parameter.grad.abs().sum(-1) > 0).all(), name


TEXTS = [
    "Red TEAPOT, ceramic",
    "red-teapot ceramic",
    "a b c d e f g h",
    "a b c d and nothing of this",
    None,
    "  ",
    "é 7",
]
ROWS, WORD_WIDTH, MOST = 97, 8, 4


def word_table(texts):
    return ItemTable(pa.table({"item_id": range(len(texts)), "count": [1] * len(texts), "text": texts}))


@pytest.fixture
def word_items():
    torch.manual_seed(0)
    made = WordItems(WordItemsConfig(num_rows=ROWS, max_words=MOST, num_layers=2), WORD_WIDTH)
    with torch.no_grad():
        for parameter in made.transformer.parameters():  # some start at zero
            parameter.normal_(std=0.5)
    made.attach(word_table(TEXTS))
    return made.eval()


def by_hand(word_items, words):
    rows = torch.from_numpy(bucket_of(hash_ids(pa.chunked_array([words[:MOST]])), ROWS)).long()
    batch = Batch.of([rows.tolist()])
    mean_D = word_items.transformer(word_items.words[rows], batch).mean(0)
    return F.rms_norm(mean_D, (WORD_WIDTH,)) / WORD_WIDTH**0.5


def test_a_vector_is_the_mean_state_of_the_text_s_first_words(word_items):
    vectors = word_items(None)
    torch.testing.assert_close(vectors[0], by_hand(word_items, ["red", "teapot", "ceramic"]))
    torch.testing.assert_close(vectors[2], by_hand(word_items, ["a", "b", "c", "d"]))
    torch.testing.assert_close(vectors[6], by_hand(word_items, ["é", "7"]))
    assert torch.equal(vectors[0], vectors[1]) and torch.equal(vectors[2], vectors[3])
    assert not vectors[4:6].any() and vectors[0].norm().item() == pytest.approx(1, rel=1e-3)


def test_items_of_a_batch_are_encoded_once_wherever_they_are(word_items):
    ids = torch.tensor([[6, 0], [0, 4]])
    torch.testing.assert_close(word_items(ids), word_items(None)[ids])
    word_items.train()
    twice = word_items(torch.tensor([0, 0]))
    assert torch.equal(twice[0], twice[1])  # what dropout takes, it takes from the item


def test_gradients_reach_every_layer_of_the_tower(word_items):
    with torch.inference_mode():
        word_items(None)
    (word_items(torch.tensor([0, 3])).sum() + word_items(None)[4:].sum()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in word_items.parameters())


def test_items_without_texts_are_refused(word_items):
    with pytest.raises(UserError, match="needs texts"):
        word_items.attach(ItemTable(pa.table({"item_id": [1], "count": [1]})))
