"""First weights from a trained encoder: rows by item id, all else as it was, under every engine; the rest refused."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.training import fit as module
from ray_userrep.training.fit import build_model
from ray_userrep.training.warm_start import warm_start
from tests.ranks import fit_bare, fit_on_ranks, losses

NEW = ["new-a", "new-b"]


def grow(corpus):
    """Another item order and two items more, in the version that is there."""
    uri = storage.join(corpus.uri, corpus.manifest.items)
    items = storage.read_parquet(uri)
    ids = [*reversed(items["item_id"].to_pylist()), *NEW]
    storage.write_parquet(uri, pa.table({"item_id": ids, "count": [*reversed(items["count"].to_pylist()), 1, 1]}))
    manifest = corpus.manifest.model_copy(update={"num_items": len(ids)})
    storage.write_text(f"{corpus.uri}/manifests/000001.json", manifest.model_dump_json())
    return open_corpus(corpus.uri)


def bare(recipe, corpus, run_uri):
    fit_bare(recipe, corpus, run_uri)
    return UserEncoder.from_pretrained(f"{run_uri}/encoder")


def fresh(recipe, corpus):
    return build_model(recipe, corpus, resolve(recipe.split, corpus)).encoder


@pytest.mark.parametrize("kind", ["id", "rows", "sum"])
def test_known_items_keep_their_rows_new_ones_are_drawn_and_all_else_is_equal(kind, corpus, recipe, tmp_path):
    items = {"kind": kind} if kind != "sum" else {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "hashed"}]}
    sampled = {"softmax": {"kind": "sampled", "num_negatives": 16}} if kind == "rows" else {}
    chosen = recipe(**{"encoder.items": items, "objective": {"kind": "autoregressive", **sampled}})
    trained = bare(chosen, corpus, tmp_path / "run")
    corpus = grow(corpus)
    encoder, drawn = fresh(chosen, corpus), fresh(chosen, corpus).state_dict()
    warm_start(encoder, str(tmp_path / "run"), module.nullcontext)
    source = trained.state_dict()
    table = {"id": "items.weight", "rows": "items.weight", "sum": "items.parts.0.weight"}[kind]
    for name, value in encoder.state_dict().items():
        if name != table:
            torch.testing.assert_close(value, source[name], rtol=0, atol=0)
            continue
        for row, item in zip(value, encoder.item_table.ids.to_pylist(), strict=True):
            known = item not in NEW
            index = trained.item_table.index_of(pa.array([item]))[0] if known else 60 + NEW.index(item)
            torch.testing.assert_close(row, (source if known else drawn)[name][index], rtol=0, atol=0)
    histories = [["item-3", "item-5"], ["item-59"]]
    np.testing.assert_allclose(encoder.encode(histories), trained.encode(histories), atol=1e-6)


def test_a_run_starts_where_the_one_before_it_ended(corpus, recipe, tmp_path):
    bare(recipe(**{"train.epochs": 8.0}), corpus, tmp_path / "first")
    warm = recipe(**{"train.warm_start": f"{tmp_path}/first/encoder", "train.learning_rate": 1e-3})
    bare(warm, corpus, tmp_path / "second")
    first, second = losses(tmp_path / "first"), losses(tmp_path / "second")
    assert second[0] < 0.6 * first[0] and abs(second[0] - np.mean(first[-5:])) < 0.3


@pytest.mark.parametrize(("stage", "init"), [(1, False), (3, True)])
def test_partitioned_workers_start_as_the_bare_loop_does(corpus, recipe, tmp_path, stage, init):
    bare(recipe(), corpus, tmp_path / "first")
    corpus = grow(corpus)
    warm = recipe(**{
        "train.warm_start": str(tmp_path / "first"), "train.max_steps": 4, "train.zero.stage": stage,
        "train.zero.init": init,
    })  # fmt: skip
    expected = bare(warm, corpus, tmp_path / "bare").state_dict()
    assert fit_on_ranks(2, warm, corpus, tmp_path / "run") == []
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "bare"), rtol=1e-5)
    for name, value in UserEncoder.from_pretrained(f"{tmp_path}/run/encoder").state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"encoder.width": 32, "encoder.backbone.num_heads": 4}, r"encoder\.backbone\.num_heads, encoder\.width"),
        (
            {"objective": {"kind": "autoencoding"}, "encoder.backbone.causal": False, "encoder.readout": "mean"},
            r"encoder\.backbone\.causal, encoder\.readout, objective \(hidden items\)",
        ),
        ({"encoder.backbone.positions": "learned", "stream.max_len": 6}, r"in stream\.max_len:"),
    ],
)
def test_another_architecture_is_refused_by_its_fields(changes, named, corpus, recipe, tmp_path):
    positions = changes.get("encoder.backbone.positions", "rotary")
    fresh(recipe(**{"encoder.backbone.positions": positions}), corpus).save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match=f"train.warm_start: the encoder at .* has another architecture.*{named}"):
        warm_start(fresh(recipe(**changes), corpus), str(tmp_path), module.nullcontext)


def test_other_dropout_and_a_longer_window_are_not_another_architecture(corpus, recipe, tmp_path):
    fresh(recipe(), corpus).save_pretrained(tmp_path / "encoder")
    encoder = fresh(recipe(**{"encoder.dropout": 0.5, "stream.max_len": 16}), corpus)
    warm_start(encoder, str(tmp_path / "encoder"), module.nullcontext)


def test_a_place_without_an_encoder_and_other_ids_are_refused(corpus, recipe, tmp_path):
    encoder = fresh(recipe(), corpus)
    with pytest.raises(UserError, match=r"train\.warm_start: no encoder at .*nowhere"):
        warm_start(encoder, f"{tmp_path}/nowhere", module.nullcontext)
    encoder.save_pretrained(tmp_path / "encoder")
    encoder.item_table = type(encoder.item_table)(pa.table({"item_id": range(60)}))
    with pytest.raises(UserError, match="item ids are int64, the item table holds string"):
        warm_start(encoder, str(tmp_path), module.nullcontext)


def test_an_encoder_from_before_a_field_had_its_default(corpus, recipe, tmp_path):
    trained = build_encoder(recipe().encoder, corpus.items(), 8)
    assert trained.config.encoder.pop("unit_items") is False
    trained.save_pretrained(tmp_path / "old")
    encoder = fresh(recipe(), corpus)
    warm_start(encoder, str(tmp_path / "old"), module.nullcontext)
    torch.testing.assert_close(encoder.items.weight, trained.items.weight, rtol=0, atol=0)
