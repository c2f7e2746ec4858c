"""Which fits' weights stay: those of the best, by a figure that is better when larger, or when smaller."""

import numpy as np
import pytest
import torch

from ray_userrep.recipe.transfer import TransferConfig
from ray_userrep.training.best import has_best, keep_best
from ray_userrep.transfer.arms.base import ParameterCounts
from ray_userrep.transfer.arms.plain import Full
from ray_userrep.transfer.encoders import Keeper
from ray_userrep.transfer.fit import FitSpec, Outcome


@pytest.mark.parametrize(("sign", "best"), [(1, 0), (-1, 1)])
def test_only_the_weights_of_the_best_fit_stay(tmp_path, sign, best):
    keeper, uris = Keeper(TransferConfig(), sign), [f"{tmp_path}/{number}" for number in range(3)]
    for seed, (uri, figure) in enumerate(zip(uris, (0.9, 0.5, 0.7), strict=True)):
        keep_best(uri, {"w": torch.ones(1)})
        outcome = Outcome(figure, 1, 1, 0.0, 0.1, "last", ParameterCounts(1, 0, 1, 0), {}, np.zeros(1))
        keeper.offer(Full(), FitSpec(1.0, seed, 0.1), outcome, uri)
    assert [has_best(uri) for uri in uris] == [number == best for number in range(3)]
