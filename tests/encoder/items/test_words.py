"""The tower over words against one text at a time, and what its words are."""

import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.hashing import bucket_of, hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.words import WordItems
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import WordItemsConfig

TEXTS = [
    "Red TEAPOT, ceramic",
    "red-teapot ceramic",
    "a b c d e f g h",
    "a b c d and nothing of this",
    None,
    "  ",
    "é 7",
]
ROWS, WIDTH, MOST = 97, 8, 4


def table(texts):
    return ItemTable(pa.table({"item_id": range(len(texts)), "count": [1] * len(texts), "text": texts}))


@pytest.fixture
def items():
    torch.manual_seed(0)
    made = WordItems(WordItemsConfig(num_rows=ROWS, max_words=MOST, num_layers=2), WIDTH)
    with torch.no_grad():
        for parameter in made.transformer.parameters():  # some start at zero
            parameter.normal_(std=0.5)
    made.attach(table(TEXTS))
    return made.eval()


def by_hand(items, words):
    rows = torch.from_numpy(bucket_of(hash_ids(pa.chunked_array([words[:MOST]])), ROWS)).long()
    batch = Batch.of([rows.tolist()])
    mean_D = items.transformer(items.words[rows], batch).mean(0)
    return F.rms_norm(mean_D, (WIDTH,)) / WIDTH**0.5


def test_a_vector_is_the_mean_state_of_the_text_s_first_words(items):
    vectors = items(None)
    torch.testing.assert_close(vectors[0], by_hand(items, ["red", "teapot", "ceramic"]))
    torch.testing.assert_close(vectors[2], by_hand(items, ["a", "b", "c", "d"]))
    torch.testing.assert_close(vectors[6], by_hand(items, ["é", "7"]))
    assert torch.equal(vectors[0], vectors[1]) and torch.equal(vectors[2], vectors[3])
    assert not vectors[4:6].any() and vectors[0].norm().item() == pytest.approx(1, rel=1e-3)


def test_items_of_a_batch_are_encoded_once_wherever_they_are(items):
    ids = torch.tensor([[6, 0], [0, 4]])
    torch.testing.assert_close(items(ids), items(None)[ids])
    items.train()
    twice = items(torch.tensor([0, 0]))
    assert torch.equal(twice[0], twice[1])  # what dropout takes, it takes from the item


def test_gradients_reach_every_layer_of_the_tower(items):
    items(torch.tensor([0, 3])).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in items.parameters())


def test_items_without_texts_are_refused(items):
    with pytest.raises(UserError, match="needs texts"):
        items.attach(ItemTable(pa.table({"item_id": [1], "count": [1]})))
