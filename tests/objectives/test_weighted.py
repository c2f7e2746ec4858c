"""Objectives together are what each is by itself; those that show the encoder the same ask it once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import (
    AutoregressiveConfig,
    LabelsConfig,
    NextFieldsConfig,
    PartConfig,
    WeightedConfig,
)

SEQUENCES = [[1, 2, 3, 0], [4, 2], [5, 6], [7, 8, 9, 10, 3]]
RNG = Draws(0, 0, 0)
PARTS = {
    "next item": AutoregressiveConfig(),
    "fields": NextFieldsConfig(fields=("category", "gap")),
    "label": LabelsConfig(attributes=("age",)),
}


def batch() -> Batch:
    made = Batch.of(SEQUENCES)
    return replace(made, side={TIMESTAMPS: torch.arange(made.num_tokens) ** 2 * 86_400 * 10**6})


def setting(table, names, readout):
    config = EncoderConfig(width=8, readout=readout, context=("gap",))
    torch.manual_seed(0)
    encoder = build_encoder(config, table, 8).eval()
    known = {"age": KnownLabels(np.arange(len(SEQUENCES)), np.array([0.0, 1.0, 0.0, 1.0]), 2)}
    data = ObjectiveData(table, (), table.counts, lambda wanted: known)
    parts = [PartConfig(weight=1.0, objective=PARTS[name]) for name in names]
    objective = build_objective(WeightedConfig(parts=parts), config, data)
    for parameter in [*encoder.parameters(), *objective.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder, objective


def gradients(encoder, loss):
    encoder.zero_grad()
    loss.backward()
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in encoder.parameters()]
    )


@pytest.mark.parametrize(
    ("names", "readout", "passes"),
    [
        (("next item", "fields"), "attention", 1),
        (("fields", "label", "next item"), "max", 2),
        (("next item", "label"), "cls", 2),
        (("label", "next item", "next item"), "last", 2),
    ],
)
def test_losses_and_gradients_are_those_of_each_by_itself(table, names, readout, passes):
    encoder, objective = setting(table, names, readout)
    views, asked = objective.views(batch(), RNG), []
    each = [one(encoder, [view]).sums_P for one, view in zip(objective.objectives, views, strict=True)]
    expected = gradients(encoder, torch.cat(each).sum())
    encoder.backbone.register_forward_hook(lambda *_: asked.append(1))
    found_P = objective(encoder, views).sums_P
    torch.testing.assert_close(found_P, torch.cat(each))
    torch.testing.assert_close(gradients(encoder, found_P.sum()), expected)
    assert len(asked) == passes
    encoder(views[0])  # nothing is kept behind it
    assert len(asked) == passes + 1
