"""Neighbours that are drawn: those that are there, by the hash of the corpus, without what must not be seen."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus import draws
from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.graph import Neighbourhoods, bits
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import DRAW, Batch
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ITEMS, SLOTS = 40, 5
RNG = np.random.default_rng(0)
USERS_E, ITEMS_E = RNG.integers(100, 130, 300), RNG.integers(0, NUM_ITEMS - 4, 300)  # of the last items nobody knows
GRAPH = UserItemGraph.of(USERS_E, ITEMS_E, NUM_ITEMS)
TAKEN = set(zip(USERS_E.tolist(), ITEMS_E.tolist(), strict=True))


def windows(users, drawn=True):
    batch = Batch.of([[0, 5, 9, 39], [3], [0, 5]], np.array(users))
    if drawn:
        batch.labels[DRAW] = torch.tensor([11, 12, 13])
    return batch


def around(batch):
    return Neighbourhoods(GRAPH, SLOTS).of_windows(batch)


def test_the_hash_is_that_of_the_corpus():
    x = torch.from_numpy(RNG.integers(-(2**63), 2**63 - 1, 1000))
    assert np.array_equal(bits(x).numpy(), draws.splitmix64(x.numpy().view(np.uint64)).view(np.int64))


def test_items_around_are_those_of_users_who_took_the_item():
    batch = windows([1, 2, 3])
    found = around(batch)
    for place, item in enumerate(batch.values_T.tolist()):
        users = {user for user, other in TAKEN if other == item}
        assert found.is_user_TS[place].all() == found.is_user_TS[place].any() == bool(users)
        reached = {other for user, other in TAKEN if user in users}
        items = found.items_TSS[place][found.is_item_TSS[place]].tolist()
        assert set(items) <= reached and bool(items) == bool(users)


def test_a_training_user_is_no_neighbour_of_what_they_did_and_is_one_later():
    """Of an item that nobody else took nothing is left."""
    graph = UserItemGraph.of(np.array([7, 7, 8]), np.array([0, 1, 1]), 3)
    hoods = Neighbourhoods(graph, 50)
    batch = Batch.of([[0, 1]], np.array([7]))
    batch.labels[DRAW] = torch.tensor([5])
    is_user_TS = hoods.of_windows(batch).is_user_TS
    assert not is_user_TS[0].any() and is_user_TS[1].any() and not is_user_TS[1].all()
    assert hoods.of_windows(Batch.of([[0, 1]], np.array([7]))).is_user_TS.all()


def test_draws_hang_on_the_window_alone_and_without_a_number_on_nothing():
    whole, alone = around(windows([1, 2, 3])), Batch.of([[0, 5]], np.array([3]))
    alone.labels[DRAW] = torch.tensor([13])
    for one, other in zip(whole, around(alone), strict=True):
        assert torch.equal(one[5:], other)
    assert not torch.equal(whole.items_TSS[0], whole.items_TSS[5])  # the same item in two windows
    told = around(windows([1, 2, 3], drawn=False))
    assert torch.equal(told.items_TSS[0], told.items_TSS[5]) and (told.draw_TS == 0.5).all()


def test_every_neighbour_is_drawn_about_equally_often():
    item = int(np.bincount(ITEMS_E).argmax())
    users = sorted(user for user, other in TAKEN if other == item)
    row = {user: place for place, user in enumerate(GRAPH.users_U.tolist())}
    drawn = Neighbourhoods(GRAPH, 1)._users_of.drawn(torch.arange(20000), torch.full((20000,), item), 1)
    counts = np.bincount(drawn.nodes[:, 0].numpy(), minlength=len(row))[[row[user] for user in users]]
    assert counts.sum() == 20000 and np.abs(counts / 20000 - 1 / len(users)).max() < 0.02


def test_an_item_is_told_by_others_alone():
    items_B = torch.arange(NUM_ITEMS)
    found = Neighbourhoods(GRAPH, 30).of_items(items_B, None)
    is_own = found.items_TSS == items_B[:, None, None]
    assert is_own.any() and not (found.is_item_TSS & is_own).any() and found.is_item_TSS.any()


CONFIG = EncoderConfig.model_validate({"width": 8, "backbone": {"kind": "gnn", "num_heads": 2}})


def encoder_over(ids) -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": ids, "count": range(len(ids))}))
    return build_encoder(CONFIG, table, 3, graph=GRAPH).eval()


def test_a_saved_encoder_has_its_graph_and_gives_the_same_vectors_whoever_asks(tmp_path):
    encoder = encoder_over([f"i{n}" for n in range(NUM_ITEMS)])
    encoder.save_pretrained(tmp_path)
    again = UserEncoder.from_pretrained(tmp_path)
    histories = [["i0", "i5", "i9"], ["i3"], ["i39"]]
    expected = encoder.encode(histories)
    np.testing.assert_allclose(again.encode(histories), expected, atol=1e-6)
    np.testing.assert_allclose(again.encode(histories[::-1])[::-1], expected, atol=1e-6)
    known = torch.tensor(GRAPH.users_U[:1])  # a user who is a node has the vector of any with the same history
    batch = replace(Batch.of([[0, 5, 9]]), users_B=known)
    np.testing.assert_allclose(again(batch)[0].detach(), expected[0], atol=1e-5)
    (tmp_path / "graph" / "users.arrow").write_bytes(b"other")
    with pytest.raises(UserError, match=r"graph/users.arrow is missing or was changed"):
        UserEncoder.from_pretrained(tmp_path)


def test_over_another_catalogue_the_graph_follows_its_items():
    encoder = encoder_over([f"i{n}" for n in range(NUM_ITEMS)])
    turned = encoder.with_items(ItemTable(pa.table({"item_id": ["new", "i9", "i5"], "count": [1, 1, 1]})))
    user, item = turned.graph.edges()
    assert set(zip(user.tolist(), item.tolist(), strict=True)) == {
        (u, {9: 1, 5: 2}[i]) for u, i in TAKEN if i in (5, 9)
    }
    assert encoder.with_items(encoder.item_table).graph is GRAPH
