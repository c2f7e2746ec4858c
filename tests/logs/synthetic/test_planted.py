"""The planted process beside tables written out in full: floors, probabilities, and what samples and models show."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.logs.synthetic.planted import ItemParts, Planted, positions
from ray_userrep.logs.synthetic.population import draw_users
from ray_userrep.recipe.logs import SyntheticConfig

TINY = SyntheticConfig(
    interactions=150_000, users=1000, items=2 * 4 * 3, interests=2, variants=3, lag=2, drift=0.2, echo=0.7, files=1
)


def zipf(size, exponent):
    p = np.arange(1, size + 1) ** -float(exponent)
    return p / p.sum()


def slow_kernel(p, angle):
    """Overlaps of every turned product with every product, one pair and one turn at a time."""
    edges = [0.0, *np.cumsum(p)]
    kernel = np.zeros((len(p), len(p)))
    for i, j, turn in product(range(len(p)), range(len(p)), (-1, 0, 1)):
        low = max(edges[i] + angle + turn, edges[j])
        kernel[i, j] += max(0.0, min(edges[i + 1] + angle + turn, edges[j + 1]) - low) / p[i]
    return kernel


def tables(config):
    """The chain of (interest, product) as a matrix with its stationary law, and the law of variants."""
    interests, products = config.interests, config.items // config.interests // config.variants
    w, p = zipf(interests, 0.5), zipf(products, config.item_exponent)
    angles = Planted(config).angle_K
    chain = np.zeros((interests, products, interests, products))
    for c, k in product(range(interests), range(interests)):
        chain[c, :, k, :] = config.drift * w[k] * p
        if c == k:
            kernel = slow_kernel(p, angles[c])
            chain[c, :, c, :] += (1 - config.drift) * (config.follow * kernel + (1 - config.follow) * p)
    size = interests * products
    return chain.reshape(size, size), np.outer(w, p).ravel(), zipf(config.variants, 0.5)


def conditional_entropy(weights, rows):
    return sum(-w * q * np.log(q) for w, row in zip(weights, rows, strict=True) for q in row if q > 0)


def slow_floors(config):
    chain, stationary, variant = tables(config)
    echo = config.echo * np.eye(len(variant)) + (1 - config.echo) * variant
    of_variant = conditional_entropy([1.0], [variant])
    of_chain = conditional_entropy(stationary, chain)
    unigram = conditional_entropy([1.0], [np.outer(stationary, variant).ravel()])
    return unigram, of_chain + of_variant, of_chain + conditional_entropy(variant, echo)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 3), st.floats(0, 3), st.floats(0.01, 1), st.floats(0, 0.95),
    st.floats(0, 0.95),
)  # fmt: skip
def test_floors_are_those_of_tables_written_out_in_full(interests, products, variants, exponent, drift, follow, echo):
    config = TINY.model_copy(
        update={"items": interests * products * variants, "interests": interests, "variants": variants,
                "item_exponent": exponent, "drift": drift, "follow": follow, "echo": echo}
    )  # fmt: skip
    floors = Planted(config).floors()
    np.testing.assert_allclose(floors, slow_floors(config), rtol=1e-9, atol=1e-9)
    assert floors.unigram + 1e-9 >= floors.first_order >= floors.full - 1e-9


def test_the_chain_keeps_the_zipf_law():
    chain, stationary, _ = tables(TINY)
    np.testing.assert_allclose(chain.sum(1), 1)
    np.testing.assert_allclose(stationary @ chain, stationary)


def test_probabilities_are_those_of_the_tables():
    config = TINY.model_copy(update={"interactions": 3000, "users": 40})
    chain, stationary, variant = tables(config)
    block, process = draw_users(config, 0, config.users), Planted(config)
    found = process.log_probabilities(block.item_ids_N, block.offsets_U1)
    interest, products, variants = process.parts(block.item_ids_N)
    state = interest * 4 + products
    for row, position in enumerate(positions(block.offsets_U1)):
        p = variant[variants[row]]
        if position >= config.lag:
            p = (1 - config.echo) * p + config.echo * (variants[row] == variants[row - config.lag])
        p *= chain[state[row - 1], state[row]] if position else stationary[state[row]]
        assert found[row] == pytest.approx(np.log(p))


@pytest.mark.parametrize(
    "config", [TINY, SyntheticConfig(interactions=200_000, users=2000, items=20_000, lag=7, files=1)]
)
def test_the_true_process_has_the_floors_on_its_own_samples(config):
    block, process = draw_users(config, 0, config.users), Planted(config)
    loss, position = -process.log_probabilities(block.item_ids_N, block.offsets_U1), positions(block.offsets_U1)
    floors = process.floors()
    for floor, rows in [
        (floors.unigram, position == 0),
        (floors.first_order, (position > 0) & (position < config.lag)),
        (floors.full, position >= config.lag),
    ]:
        standard_error = loss[rows].std() / rows.sum() ** 0.5
        assert abs(loss[rows].mean() - floor) < 4 * standard_error
    predicted = position > 0
    assert (
        abs(
            loss[predicted].mean()
            - floors.mean((position[predicted] < config.lag).sum(), (position >= config.lag).sum())
        )
        < 0.02
    )


def test_what_follows_one_item_is_as_uncertain_as_the_first_order_floor_says():
    """Counted, so that nothing is assumed of how the lag and the last item go together."""
    block = draw_users(TINY, 0, TINY.users)
    later = np.flatnonzero(positions(block.offsets_U1) > 0)
    pairs = np.zeros((TINY.items, TINY.items))
    np.add.at(pairs, (block.item_ids_N[later - 1], block.item_ids_N[later]), 1)
    of_last = pairs.sum(1)
    counted = conditional_entropy(of_last / of_last.sum(), pairs / of_last[:, None])
    assert counted == pytest.approx(Planted(TINY).floors().first_order, abs=0.01)


def test_ids_and_parts_are_one_to_one():
    process = Planted(TINY)
    parts = process.parts(np.arange(TINY.items))
    np.testing.assert_array_equal(process.item_ids(ItemParts(*parts)), np.arange(TINY.items))
    assert len(set(zip(*(part.tolist() for part in parts), strict=True))) == TINY.items


def test_a_trained_model_comes_near_the_floor_and_not_below():
    """A model of the last item and the one two back, on users that it has not seen."""
    config = TINY.model_copy(update={"interactions": 300_000})
    items, process = draw_users(config, 0, config.users), Planted(config)
    rows = torch.from_numpy(np.flatnonzero(positions(items.offsets_U1) >= config.lag))
    ids = torch.from_numpy(items.item_ids_N)
    torch.manual_seed(0)
    order = torch.randperm(len(rows))
    train, test = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
    last, before = (torch.nn.Embedding(config.items, config.items) for _ in range(2))
    model = torch.nn.ModuleList([last, before])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(150):
        part = train[step * 2048 % (len(train) - 2048) :][:2048]
        loss = torch.nn.functional.cross_entropy(last(ids[part - 1]) + before(ids[part - 2]), ids[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = torch.nn.functional.cross_entropy(
            last(ids[test - 1]) + before(ids[test - 2]), ids[test], reduction="none"
        )
    true = -process.log_probabilities(items.item_ids_N, items.offsets_U1)[test.numpy()]
    above = found.double().numpy() - true
    assert above.mean() > -2 * above.std() / len(above) ** 0.5
    floors = process.floors()
    assert floors.full < found.mean() < floors.full + 0.2 * (floors.first_order - floors.full)
