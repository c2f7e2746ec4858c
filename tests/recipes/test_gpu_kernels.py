"""What a GPU would be given is what a processor is given, in other kernels: losses and gradients agree."""

import numpy as np
import pytest
import torch

from ray_userrep import recipes
from ray_userrep.encoder.layers import without_noise
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.training.ahead import reading_ahead
from ray_userrep.training.step import TrainModel, prepare_micros
from tests.gpu_kernels import as_on_gpu
from tests.recipes.conftest import NUM_ITEMS, walks
from tests.recipes.test_host_waits import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_both_kernels_find_the_same_loss_and_gradients(table, name):
    torch.manual_seed(0)
    recipe = recipes.recipe(name)
    config = recipe.encoder.model_copy(update={"width": 32})
    encoder = build_encoder(config, table, 12, recipe.objective.hides_items())
    data = ObjectiveData(table, ("domain",), lambda: np.ones(NUM_ITEMS, np.int64))
    objective = build_objective(recipe.objective, config, data)
    model = TrainModel(encoder, objective, recipe.train)
    for parameter in model.parameters():  # what starts at zero would hide what lies behind it
        if not parameter.any() and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    micros = reading_ahead(encoder)(prepare_micros(objective, [walks()], Draws(0, 0, 0), 0))

    def learned() -> tuple[torch.Tensor, torch.Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16), without_noise():
            loss, _ = model(micros.views[0], micros.counts_P)
        loss.backward()
        return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, gradients = learned()
    with as_on_gpu():
        loss_on_gpu, gradients_on_gpu = learned()
    torch.testing.assert_close(loss_on_gpu, loss, rtol=5e-3, atol=5e-3)
    assert torch.cosine_similarity(gradients, gradients_on_gpu, 0) > 0.995
