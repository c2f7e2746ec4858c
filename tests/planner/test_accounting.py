"""Costs against torch's own counter, which watches the products of real training steps."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    mm_flop,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.relations import Relations
from ray_userrep.corpus.store import Bucket
from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.feed.companions import Companions
from ray_userrep.feed.cutting import held
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.reconstruct import Oracle
from ray_userrep.objectives.social import Profiles, Society
from ray_userrep.planner import accounting
from ray_userrep.planner.accounting import Catalogue, backbone_parameters, parameters_by_kind, training_cost
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.step import TrainModel

NUM_ITEMS, TEXT_WIDTH, LENGTH, NUM_WINDOWS = 40, 6, 10, 5
CATALOGUE = Catalogue(NUM_ITEMS, TEXT_WIDTH)
# What torch's counter does not know of: the fused attention of CPUs, and a product that is added in place.
CPU_PRODUCTS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v)
    ),
    torch.ops.aten.addmm_: lambda total, a, b, *_, **__: mm_flop(a, b),
}

AUTOREGRESSIVE = {"kind": "autoregressive"}
SAMPLED = {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 7}}
CLOZE = {"kind": "autoencoding", "heads": ("price",)}
CONTRAST = {"kind": "contrastive", "views": "subsequences"}
BOTH = {"kind": "weighted", "parts": [{"weight": 1, "objective": AUTOREGRESSIVE}, {"weight": 1, "objective": CONTRAST}]}
HISTORY = {"kind": "history", "hide": 0.0}
FUTURE = {"kind": "history", "predict": "future"}
GATED = {"kind": "lstm", "context": "gates", "hidden": 5}
FIELDS = {"kind": "next_fields", "fields": ("price", "gap")}
BAG = {"bag_width": 6, "bag_kept": 4, "readout": "bag"}
BESIDE = {
    "kind": "weighted",
    "parts": [{"weight": 1, "objective": AUTOREGRESSIVE}, {"weight": 1, "objective": HISTORY}],
}
IN_BATCH = {"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1, "num_hard": 3}}
PERIODS = {"kind": "contrastive", "views": "periods", "share": 0.3}
TWO_WAY = {"kind": "transformer", "causal": False}
TEXT = {"kind": "text", "hidden": 3}
CASES = {
    "transformer": ({}, AUTOREGRESSIVE),
    "gated gelu": (
        {"backbone": {"kind": "transformer", "gated": True, "ffn": "gelu", "ffn_mult": 1.3, "num_layers": 3}},
        AUTOREGRESSIVE,
    ),
    "hstu": ({"backbone": {"kind": "hstu"}}, AUTOREGRESSIVE),
    "cnn": ({"backbone": {"kind": "cnn", "num_blocks": 3}}, AUTOREGRESSIVE),
    "gru": ({"backbone": {"kind": "gru", "num_layers": 2}}, AUTOREGRESSIVE),
    "lstm": ({"backbone": {"kind": "lstm", "num_layers": 2}}, AUTOREGRESSIVE),
    "gated lstm": ({"backbone": GATED, "context": ("gap",)}, AUTOREGRESSIVE),
    "mean": ({"backbone": {"kind": "mean"}}, AUTOREGRESSIVE),
    "sage": ({"backbone": {"kind": "gnn", "meta_aggregator": False}}, AUTOREGRESSIVE),
    "gat": ({"backbone": {"kind": "gnn", "layer": "gat", "num_neighbours": 2}}, AUTOREGRESSIVE),
    "reconstruct": ({"backbone": {"kind": "gnn", "sampler": "learned"}}, {"kind": "reconstruct"}),
    "sampled": ({}, SAMPLED),
    "text": ({"items": TEXT}, AUTOREGRESSIVE),
    "text, sampled": ({"items": TEXT}, SAMPLED),
    "projected": ({"items": {"kind": "projected", "table_width": 6}}, AUTOREGRESSIVE),
    "projected, sampled": ({"items": {"kind": "projected", "table_width": 6}}, SAMPLED),
    "sum": ({"items": {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "text"}]}}, AUTOREGRESSIVE),
    "cloze": ({"backbone": TWO_WAY, "readout": "mask"}, CLOZE),
    "one token": ({"backbone": TWO_WAY, "readout": "cls"}, CLOZE),
    "in batch": ({"unit_items": True}, IN_BATCH),
    "mixed whitenings": ({"items": {"kind": "whitened_moe", "num_experts": 3}}, AUTOREGRESSIVE),
    "cropped": ({"backbone": TWO_WAY, "readout": "mean"}, CLOZE | {"crop": 0.6, "predict_from": "place"}),
    "periods": ({}, PERIODS),
    "same target": ({}, CONTRAST | {"whole_first": True, "same_target": True}),
    "contrast": ({}, CONTRAST),
    "contrast of a token": ({"backbone": TWO_WAY, "readout": "cls"}, CONTRAST),
    "both": ({}, BOTH),
    "history": ({"readout": "whole"}, HISTORY),
    "future": ({"readout": "whole"}, FUTURE),
    "bag": (BAG, BESIDE),
    "next fields": ({}, FIELDS),
    "next fields by attention": ({"readout": "attention"}, FIELDS),
    "contrast by attention": ({"readout": "attention"}, CONTRAST),
    "profile": ({"profile": ("town", "age")}, AUTOREGRESSIVE),
    "masked bundles behind a profile": (
        {"backbone": TWO_WAY, "readout": "mean", "bundle": "hour", "singles": LENGTH, "profile": ("town",)},
        {"kind": "masked_bundles", "columns": (), "fields": ("price",)},
    ),
    "friends": ({}, {"kind": "social"}),
    "friends of a token": ({"backbone": TWO_WAY, "readout": "cls"}, {"kind": "social"}),
    "masked bundles": (
        {"backbone": TWO_WAY, "readout": "mean", "bundle": "hour", "singles": LENGTH},  # all single: an exact count
        {"kind": "masked_bundles", "columns": (), "fields": ("price", "hour")},
    ),
}


GRAPH = UserItemGraph.of(np.arange(NUM_ITEMS) % 7, np.arange(NUM_ITEMS), NUM_ITEMS)
ORACLE = Oracle(np.arange(5), np.ones((5, 16), np.float32), np.ones((NUM_ITEMS, 16), np.float32))


@pytest.fixture(scope="module")
def table() -> ItemTable:
    vectors = np.random.default_rng(0).normal(size=(NUM_ITEMS, TEXT_WIDTH)).astype(np.float32)
    columns = {
        "item_id": np.arange(NUM_ITEMS),
        "count": np.arange(NUM_ITEMS, 0, -1),
        "price": np.arange(NUM_ITEMS, dtype=np.float64),
        "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), TEXT_WIDTH),
    }
    return ItemTable(pa.table(columns))


def recipe_of(encoder: dict, objective: dict) -> Recipe:
    return Recipe.model_validate({"name": "small", "encoder": {"width": 16} | encoder, "objective": objective})


def friends() -> Society:
    """The users of the batch in a ring, with windows as long as its own."""
    users, items = np.arange(NUM_WINDOWS), np.arange(NUM_WINDOWS * LENGTH) % NUM_ITEMS
    others = np.sort([(users - 1) % NUM_WINDOWS, (users + 1) % NUM_WINDOWS], axis=0).T.ravel()
    bucket = Bucket(pa.nulls(NUM_WINDOWS), users, np.arange(NUM_WINDOWS + 1) * LENGTH, items, items * 10**9, {})
    relations = Relations(users, 2 * np.arange(NUM_WINDOWS + 1), others)
    return Society(
        relations, Profiles(users, np.zeros((NUM_WINDOWS, 0), np.int64)), lambda: Companions(held(bucket, [TIMESTAMPS]))
    )


def model_of(recipe: Recipe, table: ItemTable) -> TrainModel:
    graph = GRAPH if recipe.encoder.backbone.kind == "gnn" else None
    encoder = build_encoder(recipe.encoder, table, LENGTH, recipe.objective.hides_items(), graph)
    data = ObjectiveData(table, (), table.counts, society=lambda _: friends(), oracle=lambda: ORACLE)
    objective = build_objective(recipe.objective, recipe.encoder, data)
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *objective.parameters()]:
            parameter.normal_(std=0.1)
    return TrainModel(encoder, objective)


def batch_of(length: int) -> Batch:
    rng = np.random.default_rng(1)
    batch = Batch.of([rng.integers(0, NUM_ITEMS, length) for _ in range(NUM_WINDOWS)])
    batch.side[TIMESTAMPS] = torch.arange(batch.num_tokens) * 10**9
    batch.side.update({name: torch.ones(batch.num_tokens, dtype=torch.int64) for name in ("user.town", "user.age")})
    return batch


@pytest.mark.parametrize("case", CASES)
def test_the_cost_is_what_the_counter_counts(case, table, monkeypatch):
    recipe = recipe_of(*CASES[case])
    model = model_of(recipe, table)
    views = model.objective.views(batch_of(LENGTH), Draws(0, 0, 0))
    counts_P = model.objective.counts(views)
    if recipe.objective.kind == "autoencoding":  # counted at its mean; here at what was drawn
        hidden_B = np.full(NUM_WINDOWS, float(counts_P[0]) / NUM_WINDOWS)
        monkeypatch.setattr(accounting, "_expected_hidden", lambda objective, lengths_B: hidden_B)
    if recipe.objective.kind == "masked_bundles":
        hidden_B = np.full(NUM_WINDOWS, float(counts_P[0]) / NUM_WINDOWS)
        monkeypatch.setattr(accounting, "_expected_hidden_rows", lambda objective, lengths_B: hidden_B)
    with FlopCounterMode(display=False, custom_mapping=CPU_PRODUCTS) as counter:
        model(views, counts_P.clamp(min=1))[0].backward()
    cost = training_cost(recipe.encoder, recipe.objective, CATALOGUE, [LENGTH] * NUM_WINDOWS)
    assert cost.total == pytest.approx(counter.get_total_flops(), rel=1e-12)
    assert min(cost.backbone, cost.objective) > 0
    assert cost.interactions == NUM_WINDOWS * (LENGTH - model.objective.lookahead)


def test_hidden_items_are_counted_at_their_mean(table):
    recipe = recipe_of(*CASES["cloze"])
    objective = model_of(recipe, table).objective
    hidden = [float(objective.counts(objective.views(batch_of(4), Draws(0, i, 0)))[0]) for i in range(600)]
    expected = accounting._expected_hidden(recipe.objective, np.full(NUM_WINDOWS, 4)).sum()
    assert np.mean(hidden) == pytest.approx(expected, abs=4 * np.std(hidden) / np.sqrt(len(hidden)))


def test_hidden_rows_are_counted_at_their_mean(table):
    recipe = recipe_of(*CASES["masked bundles"])
    objective, batch = model_of(recipe, table).objective, batch_of(4)
    hidden = [float(objective.counts(objective.views(batch, Draws(0, i, 0)))[0]) for i in range(600)]
    expected = accounting._expected_hidden_rows(recipe.objective, np.full(NUM_WINDOWS, 4)).sum()
    assert np.mean(hidden) == pytest.approx(expected, abs=4 * np.std(hidden) / np.sqrt(len(hidden)))


def test_costs_add_up_over_windows_and_long_ones_cost_more_each():
    recipe = recipe_of({}, AUTOREGRESSIVE)

    def cost(lengths: list[int]) -> accounting.Cost:
        return training_cost(recipe.encoder, recipe.objective, CATALOGUE, lengths)

    assert cost([5, 9]).total == pytest.approx(cost([5]).total + cost([9]).total)
    assert cost([40]).per_interaction > cost([4, 4]).per_interaction
    assert cost([1]).interactions == 0 and cost([1]).per_interaction == 0


@pytest.mark.parametrize("kind", ["transformer", "hstu", "cnn", "gru", "mean"])
def test_parameters_are_counted_without_making_them(kind):
    config = recipe_of({"backbone": {"kind": kind}}, AUTOREGRESSIVE).encoder.backbone
    made = sum(weight.numel() for weight in build_backbone(config, 16, LENGTH).parameters())
    assert backbone_parameters(config, 16, LENGTH) == made


def test_parameters_by_kind_are_all_that_is_trained(table):
    model = model_of(recipe_of(*CASES["cloze"]), table)
    kinds = parameters_by_kind(model.encoder, model.objective)
    assert set(kinds) == {"embedding", "backbone", "head"} and kinds["head"] > 0
    assert sum(kinds.values()) == sum(weight.numel() for weight in model.parameters())
