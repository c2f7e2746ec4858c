"""Vectors of whole histories: what a loop over users gives, however they are cut, and sums that add up by days."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.bag import Moments
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ITEMS, MAX_LEN, WIDTH, KEPT = 9, 4, 6, 5
COUNTS = np.array([50, 20, 10, 5, 4, 3, 2, 1, 1])
HISTORIES = [[1, 2, 3, 4, 5, 6, 7, 8, 0, 1], [], [3], [2, 2, 2, 2], [8, 7, 6, 5, 4]]
histories = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=23), min_size=1, max_size=6)


def make(readout: str, ids=None, **backbone) -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": ids or list(range(NUM_ITEMS)), "count": COUNTS}))
    fields = {
        "width": 8, "readout": readout, "bag_width": WIDTH if readout == "bag" else 0, "bag_kept": KEPT, "dropout": 0.5,
        "backbone": {"kind": "transformer", "num_heads": 2} | backbone,
    }  # fmt: skip
    encoder = build_encoder(EncoderConfig.model_validate(fields), table, MAX_LEN)
    if encoder.bag is not None:
        torch.nn.init.normal_(encoder.bag.map.weight)
    return encoder


def read(encoder: UserEncoder, lives: list[list[int]], batch_tokens: int = 7) -> np.ndarray:
    items = np.array([item for life in lives for item in life], np.int64)
    return user_vectors(encoder, items, np.array([len(life) for life in lives]), {}, batch_tokens)


def slow_bag(encoder: UserEncoder, life: list[int]) -> np.ndarray:
    """The formula, an item at a time."""
    rows = encoder.bag.items.weight.detach().double().numpy()
    total, squares = np.zeros(WIDTH), 0.0
    for item in life:
        total += rows[item, -1] * rows[item, :-1]
        squares += rows[item, -1] ** 2
    return encoder.bag.map.weight.detach().double().numpy() @ (total / squares**0.5 if life else total)


def slow_mean(encoder: UserEncoder, life: list[int]) -> np.ndarray:
    """The mean state of windows from the oldest item on, a window at a time."""
    with torch.no_grad():
        tiles = [life[start : start + MAX_LEN] for start in range(0, len(life), MAX_LEN)]
        states = [encoder.eval().states(Batch.of([tile])).double().numpy() for tile in tiles]
    return np.concatenate(states).mean(0) if life else np.zeros(encoder.width)


@settings(deadline=None, max_examples=30)
@given(histories, st.sampled_from([1, 7, 10_000]))
def test_a_bag_is_the_weighted_sum_over_the_length_of_its_weights(lives, batch_tokens):
    encoder = make("bag")
    expected = [slow_bag(encoder, life) for life in lives]
    np.testing.assert_allclose(read(encoder, lives, batch_tokens), expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(histories, st.sampled_from([1, 7, 10_000]))
def test_whole_is_the_mean_state_of_all_windows(lives, batch_tokens):
    encoder = make("whole")
    expected = [slow_mean(encoder, life) for life in lives]
    np.testing.assert_allclose(read(encoder, lives, batch_tokens), expected, atol=1e-5)


@pytest.mark.parametrize("readout", ["last", "mean", "cls"])
def test_readouts_of_a_window_see_the_newest_items(readout):
    encoder = make(readout, causal=False)
    found = read(encoder, HISTORIES)
    with torch.no_grad():
        expected = encoder.eval()(Batch.of([life[-MAX_LEN:] for life in HISTORIES])).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[1].any()


@pytest.mark.parametrize("readout", ["bag", "whole"])
def test_within_a_window_it_is_what_a_forward_pass_gives(readout):
    encoder = make(readout).eval()
    short = [life[:MAX_LEN] for life in HISTORIES]
    np.testing.assert_allclose(read(encoder, short), encoder(Batch.of(short)).detach().numpy(), atol=1e-6)


def test_reading_leaves_the_mode_as_it_was_and_drops_nothing():
    encoder = make("whole").train()
    assert np.array_equal(read(encoder, HISTORIES), read(encoder, HISTORIES)) and encoder.training


@settings(deadline=None, max_examples=30)
@given(histories, st.lists(st.integers(0, 23), min_size=6, max_size=6))
def test_sums_of_days_add_up_to_the_vector_of_the_whole_life(lives, cuts):
    encoder = make("bag")
    before = [life[:cut] for life, cut in zip(lives, cuts, strict=False)]
    since = [life[cut:] for life, cut in zip(lives, cuts, strict=False)]
    sums = encoder.encode_sums(before) + encoder.encode_sums(since)
    np.testing.assert_allclose(encoder.scale_sums(sums), encoder.encode(lives), atol=1e-5)


def test_vectors_that_do_not_add_up_are_refused_and_a_bag_must_be_there():
    with pytest.raises(UserError, match=r"only vectors of encoder\.readout bag add up"):
        make("whole").encode_sums(HISTORIES)
    with pytest.raises(UserError, match=r"without a bag \(encoder\.bag_width\)"):
        make("last").read_at("bag")
    with pytest.raises(ValueError, match=r"encoder\.readout bag reads vectors of encoder\.bag_width"):
        EncoderConfig(readout="bag")


def test_weights_begin_like_idf_and_travel_with_the_encoder(tmp_path):
    encoder = make("bag")
    weights = encoder.bag.items.weight[:, -1].detach().numpy()
    np.testing.assert_allclose(weights, np.log1p(50 / COUNTS), rtol=1e-6)
    with torch.no_grad():
        encoder.bag.items.weight.add_(0.5)
    encoder.save_pretrained(tmp_path)
    loaded = UserEncoder.from_pretrained(tmp_path)
    assert loaded.vector_width == KEPT and loaded.readout == "bag"
    np.testing.assert_array_equal(loaded.encode(HISTORIES), encoder.encode(HISTORIES))


def test_another_catalogue_keeps_the_rows_of_items_it_shares():
    encoder = make("bag")
    moved = encoder.with_items(make("bag", ids=[8, 7, 6, 5, 4, 3, 2, 1, 100]).item_table)
    np.testing.assert_allclose(moved.encode([[1, 5, 8]]), encoder.encode([[1, 5, 8]]), atol=1e-6)
    torch.testing.assert_close(moved.bag.items.weight[8], encoder.bag.items.weight.mean(0))


def test_items_are_ranked_by_the_newest_state():
    encoder = make("bag").eval()
    batch = Batch.of([[1, 2, 3], [4]])
    torch.testing.assert_close(encoder.ranking(batch), encoder.states(batch)[[2, 3]])
    assert encoder(batch).shape == (2, KEPT) and encoder.learned(batch).shape == (2, WIDTH)


def test_what_is_kept_of_a_bag_are_its_principal_directions_in_a_rotation():
    rng = np.random.default_rng(0)
    bags = (rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8)) + 3).astype(np.float32)
    moments = Moments(8)
    for part in np.array_split(bags, 7):
        moments.add(part)
    kept_map, deviation = moments.principal_map(3)
    kept = kept_map.numpy()
    reference = PCA(3).fit(bags)
    np.testing.assert_allclose(kept @ kept.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(kept.T @ kept, reference.components_.T @ reference.components_, atol=1e-4)
    ours, principal = (bags @ kept.T).var(0), reference.transform(bags).var(0)
    np.testing.assert_allclose(ours.sum(), principal.sum(), rtol=1e-4)
    np.testing.assert_allclose(deviation, ours.mean() ** 0.5, rtol=1e-4)
    assert ours.max() / ours.min() < principal.max() / principal.min()
