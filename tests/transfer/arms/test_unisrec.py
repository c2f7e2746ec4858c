"""What UniSRec's fine-tuning trains, and the id table that starts as nothing."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig, WhitenedMoEItemsConfig
from ray_userrep.recipe.transfer import TransferConfig
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.arms.unisrec import with_ids

NUM_ITEMS = 9


@pytest.fixture
def encoder() -> UserEncoder:
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(size=NUM_ITEMS * 5).astype(np.float32)
    text = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 5)
    table = ItemTable(pa.table({"item_id": range(NUM_ITEMS), "count": [1] * NUM_ITEMS, "text_vector": text}))
    backbone = TransformerConfig(positions="learned", norm="layer", ffn="gelu")
    config = EncoderConfig(width=8, items=WhitenedMoEItemsConfig(num_experts=2), unit_items=True, backbone=backbone)
    return build_encoder(config, table, 6).eval()


def test_a_table_of_ids_changes_nothing_before_it_learns(encoder, tmp_path):
    grown = with_ids(encoder)
    batch = Batch.of([[1, 2, 3], [8]])
    torch.testing.assert_close(grown(batch) @ grown.items(None).T, encoder(batch) @ encoder.items(None).T)
    new = sum(p.numel() for p in grown.parameters()) - sum(p.numel() for p in encoder.parameters())
    assert new == NUM_ITEMS * 8
    (grown(batch) @ grown.items(None).T).square().sum().backward()
    ids = dict(grown.named_parameters())["items.inner.parts.1.weight"]
    assert ids.grad is not None and ids.grad.abs().max() > 0
    grown.save_pretrained(tmp_path / "encoder")
    torch.testing.assert_close(UserEncoder.from_pretrained(tmp_path / "encoder")(batch), encoder(batch))


def test_embedder_and_norms_train_maps_and_positions_do_not(encoder):
    arm = build_arm("unisrec_transductive", TransferConfig())
    trained = {name for name, _ in arm.apply(encoder).named_parameters() if arm.trainable(name)}
    assert {name for name in trained if not name.startswith("items.")} == {
        f"backbone.{module}.{kind}"
        for module in ("norm", *(f"blocks.{i}.{part}_norm" for i in (0, 1) for part in ("attention", "ffn")))
        for kind in ("weight", "bias")
    }
    assert {"items.inner.parts.0.gate.weight", "items.inner.parts.1.weight"} <= trained


def test_from_scratch_it_has_the_same_parts_and_all_of_them_train(encoder):
    arm, before = build_arm("unisrec_zero", TransferConfig()), encoder.state_dict()
    torch.manual_seed(3)
    fresh = arm.apply(encoder)
    assert {n: p.shape for n, p in fresh.named_parameters()} == {
        n: p.shape for n, p in with_ids(encoder).named_parameters()
    }
    assert all(arm.trainable(name) for name, _ in fresh.named_parameters())
    kept = [name for name, value in fresh.state_dict().items() if name in before and torch.equal(value, before[name])]
    assert not any(fresh.state_dict()[name].std() > 0 for name in kept)  # only what every encoder begins with
    drawn = fresh.state_dict()["items.inner.parts.0.weight"]
    assert drawn.std() > 0 and not torch.equal(drawn, before["items.inner.weight"])


def test_vectors_of_other_lengths_or_with_ids_are_refused(encoder):
    with pytest.raises(UserError, match="unit_items"):
        with_ids(with_ids(encoder))
