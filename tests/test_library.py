"""The package from Python: light to import, its functions where rooms have the same names."""

import subprocess
import sys

import pytest

import ray_userrep as ur
from ray_userrep.errors import UserError


def test_importing_it_imports_nothing_heavy_and_functions_stay_before_rooms():
    script = (
        "import sys, ray_userrep as ur\n"
        "heavy = {'torch', 'ray', 'deepspeed', 'transformers', 'pyarrow', 'pandas', 'numpy', 'sklearn'}\n"
        "assert not heavy & {*sys.modules}\n"
        "from ray_userrep.recipe.recipe import Recipe\n"
        "from ray_userrep.transfer.tasks.base import Task\n"
        "from ray_userrep.prepare.prepare import prepare\n"
        "assert all(map(callable, (ur.recipe, ur.transfer, ur.prepare)))\n"
        "assert ur.UserEncoder.from_pretrained\n"
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_recipe_takes_fields_by_path_short_or_nested():
    recipe = ur.recipe("sasrec", logs="s3://bucket/log", train={"epochs": 3}, **{"encoder.width": 32})
    assert (recipe.logs.uri, recipe.train.epochs, recipe.encoder.width) == ("s3://bucket/log", 3, 32)
    with pytest.raises(UserError, match=r"unknown recipe 'sas'"):
        ur.recipe("sas")
    with pytest.raises(UserError, match=r"unknown field epochs: did you mean train\.epochs"):
        ur.recipe(epochs=3)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ur.nothing  # noqa: B018
