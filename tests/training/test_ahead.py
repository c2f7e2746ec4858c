"""What is worked out ahead changes no number, is found by who made it, and is left behind by other windows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ray_userrep import recipes
from ray_userrep.encoder.bundles import Bundles, Bundling
from ray_userrep.encoder.readout import append_token
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import CLS, Batch
from ray_userrep.objectives.augment import keep
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.training.ahead import reading_ahead
from ray_userrep.training.step import TrainModel, prepare_micros
from tests.recipes.conftest import NUM_ITEMS, table, walks

__all__ = ["table"]


@pytest.mark.parametrize("name", ["clue_naver", "userbert_rakuten"])
def test_losses_and_gradients_are_those_of_a_step_without(table, name):
    recipe = recipes.recipe(name)
    config = recipe.encoder.model_copy(update={"width": 16, "dropout": 0.3})
    encoder = build_encoder(config, table, 12, recipe.objective.hides_items())
    data = ObjectiveData(table, ("domain",), lambda: np.ones(NUM_ITEMS, np.int64))
    model = TrainModel(encoder, build_objective(recipe.objective, config, data))
    plain = prepare_micros(model.objective, [walks()], Draws(0, 0, 0), 0)
    ahead = reading_ahead(encoder)(plain)
    assert all(len(view.ahead) == 1 for view in ahead.views[0]) and not any(view.ahead for view in plain.views[0])
    found = []
    for micros in (plain, ahead):
        torch.manual_seed(micros.seed)  # dropout draws the same
        model.zero_grad()
        loss, _ = model([view.to("cpu") for view in micros.views[0]], micros.counts_P)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_was_made_goes_along_to_a_device_and_not_to_other_windows():
    batch = walks()
    bundles = Bundles(Bundling(86_400 * 10**6, 2), 4)
    batch = replace(batch, ahead={bundles: bundles.ahead(batch)}).to("cpu")
    rows = bundles(torch.randn(batch.num_tokens, 4), batch)
    assert rows.windows is batch.ahead[bundles]
    np.testing.assert_array_equal(rows.windows.host_B1, rows.windows.offsets_B1)
    assert not append_token(batch, CLS).ahead


def test_bounds_of_other_windows_are_found_out():
    batch = Batch.of([[1, 2], [3]]).to("cpu")
    assert batch.bounds().tolist() == [0, 2, 3]
    with pytest.raises(AssertionError, match="bounds of other windows"):
        keep(batch, torch.tensor([True, False, True])).bounds()
