"""Item embedders against their formulas; another catalogue; the whole encoder saved and loaded with each."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.fields import price_codes
from ray_userrep.encoder.items.tables import HashedItems, IdItems, SideItems, start_from_text
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import (
    ByModalityItemsConfig,
    EncoderConfig,
    FeatureItemsConfig,
    HashedItemsConfig,
    IdItemsConfig,
    ImageItemsConfig,
    LanguageItemsConfig,
    ProjectedItemsConfig,
    RowItemsConfig,
    SideItemsConfig,
    SumItemsConfig,
    TextItemsConfig,
    WhitenedMoEItemsConfig,
    WordItemsConfig,
)
from tests.pictures import TINY, pictures, states

NUM_ITEMS, TEXT_WIDTH = 12, 6


def described(ids, seed=0) -> ItemTable:
    vectors = np.stack([np.random.default_rng(i).normal(size=TEXT_WIDTH) for i in ids])
    return ItemTable(
        pa.table(
            {
                "item_id": list(ids),
                "count": np.ones(len(ids), np.int64),
                "category": [None if i == 2 else f"c{i % 3}|d{i % 2}" for i in ids],
                "text": [None if i == 2 else f"The red, {i % 5}-part thing no {i}!" for i in ids],
                "image": pictures([None if i in (2, 5) else i for i in ids]),
                "text_states": states([None if i == 2 else i for i in ids], TINY["width"]),
                "price": [None if i == 4 else i / 2 for i in ids],
                "text_vector": pa.FixedSizeListArray.from_arrays(
                    pa.array(vectors.astype(np.float32).ravel()), TEXT_WIDTH
                ),
            }
        )
    )


TABLE = described(range(NUM_ITEMS))
NAMED = ItemTable(TABLE.table.set_column(0, "item_id", pa.array([f"other-{i}" for i in range(NUM_ITEMS)])))
KINDS = [
    IdItemsConfig(),
    IdItemsConfig(start="text"),
    TextItemsConfig(),
    TextItemsConfig(hidden=8),
    WhitenedMoEItemsConfig(num_experts=3),
    WordItemsConfig(num_rows=64),
    SideItemsConfig(num_rows=16),
    HashedItemsConfig(num_rows=32, num_hashes=2),
    FeatureItemsConfig(columns=("category", "text"), numbers=("price",), num_rows=16, num_buckets=4),
    ProjectedItemsConfig(table_width=6),
    RowItemsConfig(),
    ByModalityItemsConfig(parts=[LanguageItemsConfig(trained_layers=0, **TINY), ImageItemsConfig(pixels=32)]),
    SumItemsConfig(parts=[IdItemsConfig(start="text"), TextItemsConfig(), SideItemsConfig(num_rows=16)]),
]
every_kind = pytest.mark.parametrize("items", KINDS, ids=lambda c: c.model_dump_json()[:40])


def build(items, table=TABLE):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=16, items=items), table, 8).eval()


@every_kind
def test_a_table_is_taken_while_parameters_are_partitioned(items):
    """ZeRO-3 with `zero.init` leaves a parameter empty from when it is built until it is used."""
    encoder = build(items)
    expected = encoder.items(None).detach()
    whole = [parameter.data for parameter in encoder.parameters()]
    for parameter in encoder.parameters():
        parameter.data = torch.empty(0)
    encoder.item_table = TABLE
    for parameter, data in zip(encoder.parameters(), whole, strict=True):
        parameter.data = data
    assert torch.equal(encoder.items(None), expected)


@every_kind
def test_ids_are_rows_of_the_catalogue_and_all_weights_learn(items):
    encoder = build(items)
    ids = torch.tensor([3, 0, 2, 3])
    torch.testing.assert_close(encoder.items(ids), encoder.items(None)[ids])
    assert encoder.items(None).shape == (NUM_ITEMS, 16)
    (encoder(Batch.of([[1, 2, 3], [4]])) @ encoder.items(None).T).square().sum().backward()
    for name, parameter in encoder.items.named_parameters():
        # Behind a map that starts at zero; and the gate's noise, which is for training.
        if name.endswith(("up.weight", "up.bias", "noise.weight", "qkv.weight")) or "_norm." in name:
            continue
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@every_kind
def test_first_vectors_are_about_as_long_as_one(items):
    length = build(items, described(range(400))).items(None).norm(dim=1).mean().item()
    scale = (
        TEXT_WIDTH**0.5 if isinstance(items, TextItemsConfig | WhitenedMoEItemsConfig) else 1.0
    )  # text vectors here are not of length one
    assert 0.5 * scale < length < 2.0 * scale


@every_kind
def test_a_saved_encoder_gives_the_same_vectors(items, tmp_path):
    encoder = build(items)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    encoder.save_pretrained(tmp_path / "encoder")
    histories = [[1, 2, 3], [4], [], [11, 0]]
    loaded = UserEncoder.from_pretrained(tmp_path / "encoder")
    np.testing.assert_allclose(loaded.encode(histories), encoder.encode(histories), atol=1e-6)


@every_kind
def test_another_catalogue_keeps_what_is_known(items):
    encoder = build(items)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    other = encoder.with_items(described([7, 100, 3]))
    before, after = encoder.items(None), other.items(None)
    torch.testing.assert_close(after[[0, 2]], before[[7, 3]])
    np.testing.assert_allclose(other.encode([[7, 3]]), encoder.encode([[7, 3]]), atol=1e-6)


def test_rows_from_text_have_unit_length_and_keep_who_is_near_whom():
    torch.manual_seed(0)
    centres = F.normalize(torch.randn(5, 48), dim=1)
    group = torch.arange(100) % 5
    vectors = F.normalize(centres[group] + 0.05 * torch.randn(100, 48), dim=1)
    vectors[7] = 0
    rows = start_from_text(vectors, 16)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(100))
    nearest = (rows @ rows.T).fill_diagonal_(-2)[:, :].argmax(1)
    known = (torch.arange(100) != 7) & (nearest != 7)
    assert (group[nearest] == group)[known].float().mean() > 0.95


def test_side_vectors_are_means_of_categories_plus_the_price():
    torch.manual_seed(0)
    side = SideItems(1024, 4)
    side.attach(TABLE)
    with torch.no_grad():
        side.prices.normal_()
    rows = side._codes.on(torch.device("cpu"))
    assert (rows[2] == -1).all() and (rows[5, :2] >= 0).all() and (rows[5, 2:] == -1).all()
    expected = side.categories[rows[5, :2]].mean(0) + side.prices[price_codes(torch.tensor([2.5]))[0]]
    torch.testing.assert_close(side(torch.tensor([5]))[0], expected)
    torch.testing.assert_close(side(torch.tensor([4]))[0], side.categories[rows[4, :2]].mean(0) + side.prices[0])
    assert torch.equal(rows[0, 0], rows[3, 0]) and torch.equal(rows[1, 1], rows[3, 1])


def test_hashed_items_rarely_share_all_their_rows():
    hashed = HashedItems(1000, 2, 4)
    hashed.attach(ItemTable(pa.table({"item_id": np.arange(5000), "count": np.ones(5000, np.int64)})))
    rows = hashed._rows.on(torch.device("cpu"))
    assert np.bincount(rows.flatten().numpy(), minlength=1000).max() < 40
    assert len(torch.unique(rows, dim=0)) > 0.99 * 5000
    torch.testing.assert_close(hashed(torch.tensor([9]))[0], hashed.weight[rows[9]].sum(0))


@pytest.mark.parametrize("items, missing", [
    (TextItemsConfig(), "text vectors"), (IdItemsConfig(start="text"), "text vectors"),
    (WhitenedMoEItemsConfig(), "text vectors"),
    (SideItemsConfig(), "category or a price"),
    (FeatureItemsConfig(), "the column 'category'"), (FeatureItemsConfig(columns=(), numbers=("price",)), "'price'"),
])  # fmt: skip
def test_a_table_that_lacks_what_items_are_made_from_is_refused(items, missing):
    bare = ItemTable(pa.table({"item_id": [1, 2], "count": [1, 1]}))
    with pytest.raises(UserError, match=missing):
        build(items, bare)


@pytest.mark.parametrize("kind", ["text", "whitened_moe", "words", "features", "id", "sum"])
def test_a_catalogue_with_ids_of_another_type_has_vectors_where_texts_make_them(kind):
    parts = {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "text"}]}
    config = EncoderConfig.model_validate({"width": 16, "items": parts if kind == "sum" else {"kind": kind}})
    encoder = build_encoder(config, TABLE, 4).eval()
    if not config.is_inductive():
        with pytest.raises(UserError, match="item ids are string, the item table holds int64"):
            encoder.with_items(NAMED)
        return
    assert (encoder.known(NAMED) == -1).all()
    torch.testing.assert_close(encoder.with_items(NAMED).items(None), encoder.items(None))


def test_ids_pick_rows_and_none_is_the_catalogue():
    items = IdItems(7, 5)
    ids = torch.tensor([[3, 0], [6, 3]])
    assert torch.equal(items(ids), items(None)[ids])
    assert items(None).shape == (7, 5)
    assert items(torch.empty(0, dtype=torch.int64)).shape == (0, 5)


def test_vectors_point_where_they_did_and_have_length_one(tmp_path):
    torch.manual_seed(0)
    items = ItemTable(pa.table({"item_id": range(6), "count": [1] * 6}))
    encoder = build_encoder(EncoderConfig(width=8, unit_items=True), items, 5).eval()
    with torch.no_grad():
        encoder.items.inner.weight.mul_(torch.arange(6.0)[:, None] + 2)
    plain = encoder.items.inner(None)
    torch.testing.assert_close(encoder.items(None), plain / plain.norm(dim=1, keepdim=True))
    other = encoder.with_items(ItemTable(pa.table({"item_id": [4, 9], "count": [1, 1]})))
    torch.testing.assert_close(other.items(torch.tensor([0])), encoder.items(torch.tensor([4])))
    encoder.save_pretrained(tmp_path / "encoder")
    loaded, batch = UserEncoder.from_pretrained(tmp_path / "encoder"), Batch.of([[1, 2], [5]])
    torch.testing.assert_close(loaded(batch), encoder(batch))
