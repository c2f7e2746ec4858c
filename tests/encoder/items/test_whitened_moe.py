"""The mixture of whitenings against its formula, and its noise."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.whitened_moe import WhitenedMoEItems

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
