"""Losses that look across windows: several micro-batches learn what one forward pass over the whole batch does."""

import numpy as np
import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, identity_gather
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.cached import CachedRows, Kept
from ray_userrep.training.fit import build_model
from ray_userrep.training.step import prepare_micros, train_step

NEXT = {"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1}}
HARD = {
    "kind": "autoencoding",
    "softmax": {"kind": "in_batch", "num_hard": 5, "semi_hard": True},
    "predict_from": "place",
}
LOOKS = {"kind": "contrastive", "views": "drop", "share": 0.2, "whole_first": True, "same_target": True}
OBJECTIVES = {
    "contrastive": {"kind": "contrastive", "num_negatives": 9},
    "in_batch": NEXT,
    "hard": {
        "kind": "weighted",
        "parts": [
            {"weight": 1.0, "objective": HARD},
            {"weight": 0.5, "objective": {"kind": "contrastive", "num_negatives": 4, "negatives": "hard"}},
        ],
    },
    "both": {
        "kind": "weighted",
        "parts": [{"weight": 1.0, "objective": NEXT}, {"weight": 0.5, "objective": LOOKS}],
    },
    "items": {
        "kind": "weighted",
        "parts": [{"weight": 1.0, "objective": NEXT}, {"weight": 0.5, "objective": {"kind": "item_contrast"}}],
    },
    "beside_full": {
        "kind": "weighted",
        "parts": [{"weight": 1.0, "objective": {"kind": "autoregressive"}}, {"weight": 0.5, "objective": LOOKS}],
    },
}


CUTS = [(0, 9), (9, 11), (11, 24)]


class Recording(BareEngine):
    """An engine that keeps the gradients of its last step."""

    def step(self, learning_rate):
        self.gradients = gradients(self.model)
        return super().step(learning_rate)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def built(recipe, corpus, name, **more):
    changes = {"objective": OBJECTIVES[name], "encoder.unit_items": name in ("in_batch", "both", "items"), **more}
    if name == "items":
        changes["encoder.items"] = {"kind": "features", "columns": ["item_id"], "numbers": ["count"]}
    if name == "hard":
        changes |= {"encoder.readout": "mean", "encoder.backbone.causal": False}
    chosen = recipe(**changes)
    return build_model(chosen, corpus, resolve(chosen.split, corpus, 1.0)), chosen.train


def cut(model, cuts):
    """The same windows, two of each user, in micro-batches."""
    rng = np.random.default_rng(0)
    windows = [rng.integers(60, size=rng.integers(3, 8)).tolist() for _ in range(24)]
    users = np.arange(24) // 2 * 7919
    micros = [Batch.of(windows[low:high], users[low:high]) for low, high in cuts]
    return prepare_micros(model.objective, micros, Draws(0, 0, 0), 0)


def stepped(model, config, cuts):
    engine = Recording(model, config, torch.device("cpu"))
    return train_step(engine, cut(model, cuts), 1e-3), engine.gradients


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradients_are_those_of_the_whole_batch(corpus, recipe, name):
    torch.testing.assert_close(
        stepped(*built(recipe, corpus, name), CUTS), stepped(*built(recipe, corpus, name), [(0, 24)])
    )


def test_all_passes_drop_the_same(corpus, recipe):
    """What autograd finds where every micro-batch's rows are kept with their graphs."""
    dropout = {"encoder.dropout": 0.3, "encoder.backbone.dropout": 0.3}
    reference, _ = built(recipe, corpus, "both", **dropout)
    micros = cut(reference, CUTS)
    torch.manual_seed(micros.seed)
    kept = [Kept() for _ in CUTS]
    for views, keep in zip(micros.views, kept, strict=True):
        reference(views, micros.counts_P, keep)
    live = CachedRows(kept, identity_gather)
    torch.manual_seed(micros.seed)
    for micro, views in enumerate(micros.views):
        reference(views, micros.counts_P, live.gather_of(micro))[0].backward(retain_graph=True)
    found = stepped(*built(recipe, corpus, "both", **dropout), CUTS)[1]
    torch.testing.assert_close(found, gradients(reference))
