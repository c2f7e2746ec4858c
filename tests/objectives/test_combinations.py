"""Every combination of the families either trains or is refused with a reason that names a field."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ray_userrep.corpus.batch import TIMESTAMPS, Batch
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import Data, build_objective
from ray_userrep.recipe import Recipe

SOFTMAXES = st.one_of(
    st.just({"kind": "full"}),
    st.builds(
        lambda sampler, loss: {"kind": "sampled", "num_negatives": 8, "sampler": sampler, "loss": loss},
        st.sampled_from(["counts", "log_uniform", "in_batch", "mixed"]),
        st.sampled_from(["softmax", "bce", "gbce"]),
    ),
)
SINGLE = st.one_of(
    st.builds(lambda softmax: {"kind": "autoregressive", "softmax": softmax}, SOFTMAXES),
    st.builds(
        lambda softmax, heads: {"kind": "autoencoding", "softmax": softmax, "heads": heads},
        SOFTMAXES,
        st.sampled_from([[], ["category"], ["hour", "price"], ["gap"]]),
    ),
    st.builds(
        lambda views, negatives: {"kind": "contrastive", "views": views, "num_negatives": negatives},
        st.sampled_from(["subsequences", "mask", "permute"]),
        st.sampled_from([None, 2]),
    ),
)
OBJECTIVES = SINGLE | st.builds(
    lambda a, b: {"kind": "weighted", "parts": [{"weight": 1.0, "objective": a}, {"weight": 0.1, "objective": b}]},
    SINGLE,
    SINGLE,
)
ITEMS = st.sampled_from(
    [
        {"kind": "id"},
        {"kind": "id", "start": "text"},
        {"kind": "text", "hidden": 4},
        {"kind": "side"},
        {"kind": "hashed", "num_rows": 16},
        {"kind": "projected", "table_width": 4},
        {"kind": "rows"},
        {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "side"}]},
    ]
)
BACKBONES = st.sampled_from(
    [{"kind": kind, "causal": causal} for kind in ("transformer", "hstu", "cnn", "mean") for causal in (True, False)]
    + [{"kind": "gru"}, {"kind": "gru", "causal": False}, {"kind": "transformer", "gated": True}]
)
READOUTS = st.sampled_from(["last", "mean", "cls", "mask"])
CONTEXT = st.sampled_from([[], ["gap"], ["hour", "gap"]])


def windows(longest):
    rng = np.random.default_rng(0)
    batch = Batch.of([list(rng.integers(0, 20, length)) for length in (longest, 2, 4, longest)])
    batch.side[TIMESTAMPS] = torch.arange(batch.num_tokens) * 10**9
    return batch


@settings(max_examples=200, deadline=None)
@given(objective=OBJECTIVES, items=ITEMS, backbone=BACKBONES, readout=READOUTS, context=CONTEXT)
def test_it_trains_or_is_refused_with_a_reason(table, objective, items, backbone, readout, context):
    encoder = {"width": 8, "items": items, "backbone": backbone, "readout": readout, "context": context}
    try:
        recipe = Recipe.model_validate({"name": "drawn", "encoder": encoder, "objective": objective})
    except ValidationError as refusal:
        reason = refusal.errors()[0]
        assert "encoder." in reason["msg"] or "causal" in map(str, reason["loc"])
        return
    torch.manual_seed(0)
    built = build_encoder(recipe.encoder, table, 6, recipe.objective.hides_items())
    chosen = build_objective(recipe.objective, recipe.encoder, Data(table, (), lambda: np.arange(20)))
    views = chosen.views(windows(6 + chosen.lookahead), Draws(0, 0, 0))
    assert len(views) == chosen.num_views
    counts = chosen.counts(views)
    sums = chosen(built, views).sums_P
    assert len(sums) == len(counts) == len(chosen.parts) == len(chosen.weights)
    (sums / counts.clamp(min=1) * torch.tensor(chosen.weights)).sum().backward()
    assert torch.isfinite(sums).all() and (counts >= 0).all()
    for name, parameter in [*built.named_parameters(), *chosen.named_parameters()]:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("objective, encoder, field", [
    ({"kind": "autoregressive"}, {"backbone": {"kind": "cnn", "causal": False}}, "causal"),
    ({"kind": "autoregressive"}, {"readout": "cls"}, "encoder.readout cls"),
    ({"kind": "autoencoding"}, {"readout": "last"}, "encoder.readout"),
    ({"kind": "autoencoding", "heads": ["gap"]}, {"readout": "mask", "context": ["gap"]}, "encoder.context gap"),
    ({"kind": "contrastive"}, {"readout": "mask"}, "encoder.readout"),
    ({"kind": "contrastive", "views": "permute"}, {"readout": "mean", "backbone": {"kind": "mean", "causal": False}},
     "permute"),
])  # fmt: skip
def test_reasons_name_the_field(objective, encoder, field):
    with pytest.raises(ValidationError, match=field):
        Recipe.model_validate({"name": "refused", "encoder": encoder, "objective": objective})
