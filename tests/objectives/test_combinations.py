"""Every combination of the families either trains or is refused with a reason that names a field."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.relations import Relations
from ray_userrep.corpus.store import Bucket
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.feed.companions import Companions
from ray_userrep.feed.cutting import held
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.reconstruct import Oracle
from ray_userrep.objectives.social import Profiles, Society
from ray_userrep.recipe.recipe import Recipe

TEMPERATURES = st.sampled_from([None, 0.1])
SOFTMAXES = st.one_of(
    st.builds(lambda temperature: {"kind": "full", "temperature": temperature}, TEMPERATURES),
    st.builds(
        lambda temperature, hard: {"kind": "in_batch", "temperature": temperature} | hard,
        TEMPERATURES,
        st.sampled_from([{}, {"num_hard": 2}, {"num_hard": 2, "semi_hard": True}, {"semi_hard": True}]),
    ),
    st.builds(
        lambda sampler, loss: {"kind": "sampled", "num_negatives": 8, "sampler": sampler, "loss": loss},
        st.sampled_from(["counts", "log_uniform", "in_batch", "mixed"]),
        st.sampled_from(["softmax", "bce", "gbce"]),
    ),
)
SINGLE = st.one_of(
    st.builds(lambda softmax: {"kind": "autoregressive", "softmax": softmax}, SOFTMAXES),
    st.builds(
        lambda softmax, heads, changes: {"kind": "autoencoding", "softmax": softmax, "heads": heads} | changes,
        SOFTMAXES,
        st.sampled_from([[], ["category"], ["hour", "price"], ["gap"], ["category_2", "month"]]),
        st.sampled_from([{}, {"predict_from": "place"}, {"crop": 0.5, "shuffle": 0.5}]),
    ),
    st.builds(
        lambda views, changes: {"kind": "contrastive", "views": views} | changes,
        st.sampled_from(["subsequences", "mask", "permute", "drop", "periods", "domains"]),
        st.sampled_from(
            [
                {},
                {"num_negatives": 2},
                {"num_negatives": 2, "negatives": "hard"},
                {"negatives": "hard"},
                {"num_negatives": 2, "negatives": "semi_hard"},
                {"same_target": True},
                {"whole_first": True},
            ]
        ),
    ),
)
SINGLE |= st.builds(
    lambda fields: {"kind": "next_fields", "fields": fields},
    st.sampled_from([["category"], ["gap", "price", "hour"], ["gap", "gap"]]),
)
SINGLE |= st.builds(
    lambda changes: {"kind": "masked_bundles"} | changes,
    st.sampled_from([{}, {"columns": ["category", "text"], "fields": []}, {"fields": ["gap"]}]),
)
SINGLE |= st.builds(lambda alike: {"kind": "social", "alike": alike}, st.sampled_from([0.5, 0.9]))
SINGLE |= st.just({"kind": "reconstruct"})
OBJECTIVES = SINGLE | st.builds(
    lambda a, b: {"kind": "weighted", "parts": [{"weight": 1.0, "objective": a}, {"weight": 0.1, "objective": b}]},
    SINGLE,
    SINGLE,
)
BESIDE = st.builds(
    lambda main, masking: {
        "kind": "weighted",
        "parts": [
            {"weight": 1.0, "objective": main},
            {"weight": 0.1, "objective": {"kind": "item_contrast", "masking": masking}},
        ],
    },
    SINGLE,
    st.sampled_from(["none", "random", "correlated"]),
)
ITEMS = st.sampled_from(
    [
        {"kind": "id"},
        {"kind": "id", "start": "text"},
        {"kind": "text", "hidden": 4},
        {"kind": "whitened_moe", "num_experts": 2},
        {"kind": "words", "num_rows": 16},
        {"kind": "side"},
        {"kind": "hashed", "num_rows": 16},
        {"kind": "projected", "table_width": 4},
        {"kind": "rows"},
        {"kind": "features", "num_rows": 16, "numbers": ["price"]},
        {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "side"}]},
    ]
)
BACKBONES = st.sampled_from(
    [{"kind": kind, "causal": causal} for kind in ("transformer", "hstu", "cnn", "mean") for causal in (True, False)]
    + [{"kind": "gru"}, {"kind": "gru", "causal": False}, {"kind": "transformer", "gated": True}]
    + [{"kind": "lstm"}, {"kind": "lstm", "context": "gates", "hidden": 4}]
    + [{"kind": "gnn"}, {"kind": "gnn", "layer": "gat", "meta_aggregator": False}]
)
READOUTS = st.sampled_from(["last", "mean", "max", "attention", "cls", "mask"])
CONTEXT = st.sampled_from([[], ["gap"], ["hour", "gap"]])
BUNDLES = st.sampled_from([{}, {"bundle": "hour", "singles": 2}, {"bundle": "day", "singles": 0}])


def society():
    """Users 0 and 1 are friends, as are 2 and 3; each has a window of three."""
    users = np.arange(4)
    items, times = np.arange(12), np.arange(12) * 10**9
    bucket = Bucket(pa.nulls(4), users, np.arange(0, 13, 3), items, times, {"domain": items % 3})
    relations = Relations(users, np.arange(5), np.array([1, 0, 3, 2]))
    return Society(relations, Profiles(users, np.arange(1, 5)[:, None]), lambda: Companions(held(bucket, [TIMESTAMPS])))


SOCIETY = society()
GRAPH = UserItemGraph.of(np.arange(60) % 7, np.arange(60) % 20, 20)
ORACLE = Oracle(np.arange(4), np.ones((4, 8), np.float32), np.ones((20, 8), np.float32))


def windows(lookahead, reads_times):
    """Windows of up to six items, the shortest of one, with what objectives need beyond, and times only if read."""
    rng = np.random.default_rng(0)
    batch = Batch.of([list(rng.integers(0, 20, length)) for length in np.array([6, 1, 3, 6]) + lookahead])
    if reads_times:
        batch.side[TIMESTAMPS] = torch.arange(batch.num_tokens) * 10**9
    batch.side["domain"] = torch.arange(batch.num_tokens) % 3
    return batch


@settings(max_examples=200, deadline=None)
@example(
    objective={"kind": "contrastive", "views": "periods", "same_target": True},
    items={"kind": "id"},
    backbone={"kind": "transformer"},
    readout="last",
    context=[],
    bundles={},
    unit=False,
)
@example(
    objective={"kind": "masked_bundles"},
    items={"kind": "id"},
    backbone={"kind": "transformer", "causal": False},
    readout="mean",
    context=["hour"],
    bundles={"bundle": "hour", "singles": 2},
    unit=False,
)
@example(
    objective={"kind": "social"},
    items={"kind": "id"},
    backbone={"kind": "transformer"},
    readout="max",
    context=["gap"],
    bundles={},
    unit=False,
)
@example(
    objective={"kind": "reconstruct"},
    items={"kind": "id"},
    backbone={"kind": "gnn"},
    readout="last",
    context=[],
    bundles={},
    unit=False,
)
@given(
    objective=OBJECTIVES | BESIDE,
    items=ITEMS,
    backbone=BACKBONES,
    readout=READOUTS,
    context=CONTEXT,
    bundles=BUNDLES,
    unit=st.booleans(),
)
def test_it_trains_or_is_refused_with_a_reason(table, objective, items, backbone, readout, context, bundles, unit):
    encoder = {"width": 8, "items": items, "backbone": backbone, "readout": readout, "context": context} | bundles
    encoder["unit_items"] = unit
    try:
        recipe = Recipe.model_validate({"name": "drawn", "encoder": encoder, "objective": objective})
    except ValidationError as refusal:
        reason = refusal.errors()[0]
        assert "encoder." in reason["msg"] or "objective." in reason["msg"] or "causal" in map(str, reason["loc"])
        return
    torch.manual_seed(0)
    graph = GRAPH if backbone["kind"] == "gnn" else None
    built = build_encoder(recipe.encoder, table, 6, recipe.objective.hides_items(), graph)
    data = ObjectiveData(table, ("domain",), lambda: np.arange(20), society=lambda _: SOCIETY, oracle=lambda: ORACLE)
    chosen = build_objective(recipe.objective, recipe.encoder, data)
    batch = windows(chosen.lookahead, built.reads_times or chosen.reads_times)
    views = chosen.views(batch, Draws(0, 0, 0))
    assert len(views) == chosen.num_views
    counts = chosen.counts(views)
    sums = chosen(built, views).sums_P
    assert len(sums) == len(counts) == len(chosen.parts) == len(chosen.weights)
    (sums / counts.clamp(min=1) * torch.tensor(chosen.weights)).sum().backward()
    assert torch.isfinite(sums).all() and (counts >= 0).all()
    for name, parameter in [*built.named_parameters(), *chosen.named_parameters()]:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


BOTH_WAYS = {"backbone": {"kind": "transformer", "causal": False}}
WEEKS = BOTH_WAYS | {"bundle": "week", "readout": "mean"}


GATES = {"backbone": {"kind": "lstm", "context": "gates"}, "context": ["gap"]}


def beside(kind):
    parts = [{"weight": 1.0, "objective": {"kind": one}} for one in (kind, "item_contrast")]
    return {"kind": "weighted", "parts": parts}


@pytest.mark.parametrize("objective, encoder, field", [
    ({"kind": "autoregressive"}, {"backbone": {"kind": "cnn", "causal": False}}, "causal"),
    ({"kind": "autoregressive"}, {"readout": "cls"}, "encoder.readout cls"),
    ({"kind": "autoencoding"}, {"readout": "last"}, "encoder.readout"),
    ({"kind": "autoencoding", "heads": ["gap"]}, {"readout": "mask", "context": ["gap"]}, "encoder.context gap"),
    ({"kind": "contrastive"}, {"readout": "mask"}, "encoder.readout"),
    ({"kind": "contrastive", "views": "permute"}, {"readout": "mean", "backbone": {"kind": "mean", "causal": False}},
     "permute"),
    ({"kind": "contrastive", "negatives": "hard"}, {}, "objective.num_negatives"),
    ({"kind": "autoregressive", "softmax": {"kind": "in_batch", "semi_hard": True}}, {}, "objective.softmax.num_hard"),
    ({"kind": "contrastive", "views": "domains", "whole_first": True}, {}, "objective.whole_first"),
    ({"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1}}, {}, "encoder.unit_items"),
    ({"kind": "autoencoding", "predict_from": "place"}, {"readout": "cls"}, "objective.predict_from"),
    (beside("autoregressive"), {}, "encoder.items.kind must be features"),
    (beside("autoregressive"), {"items": {"kind": "features"}}, "objective.masking correlated"),
    (beside("item_contrast"), {"items": {"kind": "features", "numbers": ["price"]}}, "trains items alone"),
    ({"kind": "autoregressive"}, {"readout": "attention"}, "encoder.readout attention"),
    ({"kind": "autoregressive"}, {"backbone": {"kind": "lstm", "context": "gates"}}, "encoder.context, which is empty"),
    ({"kind": "next_fields", "fields": ["gap"]}, {"readout": "cls"}, "encoder.readout cls"),
    ({"kind": "next_fields", "fields": ["gap"]}, {"backbone": {"kind": "cnn", "causal": False}}, "causal"),
    ({"kind": "next_fields", "fields": ["gap", "gap"]}, {}, "objective.fields"),
    ({"kind": "masked_bundles"}, BOTH_WAYS | {"readout": "mean"}, "set encoder.bundle"),
    ({"kind": "masked_bundles", "fields": ["month"]}, WEEKS, "objective.fields month is told by when"),
    ({"kind": "masked_bundles", "columns": ["price"]}, WEEKS, "names price twice"),
    ({"kind": "masked_bundles"}, WEEKS | {"backbone": {"kind": "mean", "causal": False}}, "encoder.backbone.kind mean"),
    ({"kind": "autoencoding"}, WEEKS | {"readout": "cls"}, "encoder.readout cls"),
    ({"kind": "autoregressive"}, {"bundle": "day"}, "encoder.bundle day needs encoder.backbone.causal false"),
    ({"kind": "labels", "attributes": ["age"]}, {"profile": ["age"]}, "objective.attributes age would be"),
    ({"kind": "labels"}, {"profile": ["age"]}, "of which encoder.profile reads age"),
    ({"kind": "autoregressive"}, {"profile": ["age", "age"]}, "encoder.profile names age twice"),
    ({"kind": "autoregressive"}, GATES | {"profile": ["age"]}, "encoder.profile has rows of its own"),
    ({"kind": "social"}, {"readout": "mask"}, "objective.kind social"),
    ({"kind": "reconstruct"}, {}, "encoder.backbone.kind must be gnn"),
    ({"kind": "reconstruct"}, {"backbone": {"kind": "gnn"}, "readout": "cls"}, "encoder.readout cls must be last"),
    ({"kind": "autoregressive"}, {"backbone": {"kind": "gnn"}, "profile": ["age"]}, "encoder.profile have none"),
    ({"kind": "autoregressive"}, {"backbone": {"kind": "gnn", "num_heads": 3}}, "encoder.backbone.num_heads 3"),
    ({"kind": "labels", "attributes": ["event"]}, {"context": ["event"]}, "objective.attributes event"),
    ({"kind": "labels", "attributes": ["age", "age"]}, {}, "objective.attributes"),
])  # fmt: skip
def test_reasons_name_the_field(objective, encoder, field):
    with pytest.raises(ValidationError, match=field):
        Recipe.model_validate({"name": "refused", "encoder": encoder, "objective": objective})
