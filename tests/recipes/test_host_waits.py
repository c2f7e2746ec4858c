"""What would make the host wait for a GPU in a step: found here without one, by the operators that a step calls.

Operators whose result has as many rows as its data says are counted on the host, and so is a value that Python asks
for; a constant that is made anew is copied from it.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ray_userrep import recipes
from ray_userrep.encoder.readout import append_token
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import CLS
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.ahead import reading_ahead
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.step import TrainModel, prepare_micros, train_step
from tests.gpu_kernels import as_on_gpu
from tests.recipes.conftest import NUM_ITEMS, SYSTEMS, walks

WAITING = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "bincount", "aten.equal", "lift_fresh")
ASKING = {torch.Tensor.cpu: "cpu", torch.Tensor.tolist: "tolist"}
ON_HOST = {  # what is no waiting, by where it is
    # Layouts are made on the host and copied, and those of read texts ask for bounds: on CPUs, and on GPUs in fp32 and
    # for HSTU, where the kernel that does without is not to be had.
    "encoder/backbones/attention.py": ("lift_fresh", "cpu"),
    "encoder/backbones/gru.py": ("lift_fresh", "_local_scalar_dense"),  # sizes of a packing never leave the host
}
RECIPES = sorted({"sasrec", "bert4rec", "esasrec", "gsasrec", "hstu", "gru4rec", "nextitnet", "cl4srec", *SYSTEMS})


class Operators(TorchDispatchMode):
    """Collects the operators that would wait."""

    def __init__(self, found: set[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = str(operator)
        picks = name.startswith(("aten.index.Tensor", "aten.index_put"))
        by_mask = picks and any(one is not None and one.dtype == torch.bool for one in args[1])
        if (by_mask or any(part in name for part in WAITING)) and not _is_on_host(name):
            self._found.add(name)
        return operator(*args, **(kwargs or {}))


class Questions(TorchFunctionMode):
    """Collects the values that Python asks for, of which no operator tells on a CPU."""

    def __init__(self, found: set[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in ASKING and not _is_on_host(ASKING[function]):
            self._found.add(ASKING[function])
        return function(*args, **(kwargs or {}))


def _is_on_host(operator: str) -> bool:
    *_, ours = (frame.filename for frame in traceback.extract_stack() if "/ray_userrep/" in frame.filename)
    return any(ours.endswith(place) and part in operator for place, parts in ON_HOST.items() for part in parts)


@contextmanager
def waits() -> Iterator[set[str]]:
    found: set[str] = set()
    with Operators(found), Questions(found):
        yield found


def found_in_steps(table, recipe) -> set[str]:
    """What waits in the second of two steps: what is made once may be copied once."""
    config = recipe.encoder.model_copy(update={"width": 16})
    encoder = build_encoder(config, table, 12, recipe.objective.hides_items())
    data = ObjectiveData(table, ("domain",), lambda: np.ones(NUM_ITEMS, np.int64))
    objective = build_objective(recipe.objective, config, data)
    engine = BareEngine(TrainModel(encoder, objective, recipe.train), recipe.train, torch.device("cpu"))
    for step in range(2):
        micros = reading_ahead(encoder)(prepare_micros(objective, [walks()], Draws(0, step, 0), 0))
        with waits() as found:
            train_step(engine, micros, 1e-3)
    return found


def of_its_shape(q, k, v, *_, **__):
    """What attention gives has the shape of what it is given; a plain one would ask for the bounds."""
    return q + k + v


def with_items(name: str, kind: str) -> Recipe:
    raw = recipes.recipe(name).model_dump()
    raw["encoder"]["items"] = {"kind": kind}
    return Recipe.model_validate(raw)


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_asks_the_device_for_nothing(table, name):
    assert not found_in_steps(table, recipes.recipe(name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_by_the_kernels_of_gpus_asks_for_nothing_either(table, name):
    raw = recipes.recipe(name).model_dump()
    raw["train"]["precision"] = "bf16"
    with as_on_gpu(of_its_shape):
        assert not found_in_steps(table, Recipe.model_validate(raw))


def test_a_token_is_put_behind_windows_that_are_on_a_device_already():
    batch = walks().to("cpu")
    with waits() as found:
        append_token(batch, CLS)
    assert not found


def test_row_tables_wait_where_they_are_updated(table):
    """Which rows were learned about is told by the gradients of all ranks, of which the host knows nothing."""
    assert found_in_steps(table, with_items("gru4rec", "rows")) == {"aten._unique2.default", "aten.index.Tensor"}


def test_words_wait_where_targets_and_negatives_are_encoded_and_not_for_windows_and_catalogues(table):
    """Texts are found ahead by windows: each call encodes its own, with dropout of its own."""
    assert not found_in_steps(table, with_items("sasrec", "words"))
    found = found_in_steps(table, with_items("gru4rec", "words"))
    assert found == {"aten._unique2.default", "aten.index.Tensor", "cpu"}
