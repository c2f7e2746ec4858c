"""Fields by path: all of them described, set from values, and refused in our own words."""

import pytest

from ray_userrep import recipes
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import TAGS, fields, with_values
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.recipe.words import type_of


@pytest.mark.parametrize("model", [Recipe, ScaleConfig, PlanConfig, SyntheticConfig])
def test_every_field_says_what_it_is(model):
    for path, variants in fields(model).items():
        if path.rsplit(".", 1)[-1] not in TAGS:  # what a kind is, its class says
            assert all(info.description for info in variants), path


def test_values_are_set_by_path_short_name_or_nested():
    recipe = recipes.recipe("sasrec")
    columns = {"user_id": "customer"}
    changed = with_values(recipe, {"train": {"zero": {"stage": 1}, "epochs": 2}, "logs": "a", "logs.columns": columns})
    assert (changed.train.zero.stage, changed.train.epochs, changed.logs.uri) == (1, 2, "a")
    assert changed.logs.columns == columns and changed.train.patience == recipe.train.patience
    assert with_values(recipe, {"split.k": 3, "split.rule": "leave_k_out"}).split.k == 3
    with pytest.raises(UserError, match=r"unknown field train\.epoch: did you mean train\.epochs"):
        with_values(recipe, {"train": {"epoch": 3}})
    assert recipe == recipes.recipe("sasrec")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.num_workers": "two"}, r"train\.num_workers: takes an integer ≥ 1 \(given 'two'\)"),
        ({"train.num_workers": 0}, r"train\.num_workers: takes an integer ≥ 1 \(given 0\)"),
        ({"train.betas": 3}, r"train\.betas: takes a list of 2 numbers ≥ 0, < 1 \(given 3\)"),
        ({"evaluation.ks": [5, -1]}, r"evaluation\.ks\.1: takes a list of integers > 0 \(given -1\)"),
        ({"logs.from_date": "soon"}, r"logs\.from_date: takes a day as 2024-01-31 or none \(given 'soon'\)"),
        ({"corpus.append": "perhaps"}, r"corpus\.append: takes true \| false \(given 'perhaps'\)"),
        ({"encoder.backbone.kind": "foo"}, r"encoder\.backbone\.kind: takes 'transformer', .*'mean'.* \(given 'foo'\)"),
        ({"encoder.backbone": "hstu"}, r"choose one of its kinds with encoder\.backbone\.kind"),
        ({"train.zero": 3}, r"train\.zero: it has fields of its own, such as train\.zero\.stage"),
        ({"logs.uri": ""}, r"logs\.uri: takes text"),
        ({"train.betas": [5, -3]}, r"train\.betas\.0: takes a list of 2 numbers ≥ 0, < 1 \(given 5\)"),
        ({"train.epochs": float("inf")}, r"train\.epochs: takes a finite number \(given inf\)"),
        ({"train.learning_rate": float("nan")}, r"train\.learning_rate: takes a finite number \(given nan\)"),
        ({"train.epochs": 1e300}, r"train\.epochs: takes numbers from 1e-36 to 1e\+36"),
        ({"stream.max_len": 2**64}, r"stream\.max_len: takes whole numbers up to 2\*\*53"),
        ({"evaluation.ks": [5, 10**30]}, r"evaluation\.ks: takes whole numbers up to 2\*\*53"),
        ({"logs.columns": {"user_id": "\ud800"}}, r"logs\.columns: takes text that is valid Unicode"),
        ({"run": "a\0b"}, r"run: takes text that has no NUL in it"),
        ({"corpus.uri": "/".join(["folder"] * 1000)}, r"corpus\.uri: takes text that has at most 4,096 characters"),
        ({"transfer.encoder": "runs/" + "x" * 300}, r"transfer\.encoder: .* at most 255 bytes between slashes"),
        ({"continual.tasks": [{"corpus": "\0"}]}, r"continual\.tasks\.0\.corpus: takes text that has no NUL"),
        ({"train.num_workers": "x" * 200_000}, r"train\.num_workers: takes an integer ≥ 1 \(given 'x{50,}\.\.\.x+'\)$"),
        ({"name": "../up"}, r"name '\.\./up' is part of a folder's"),
    ],
)
def test_a_wrong_value_is_refused_in_words(values, message):
    with pytest.raises(UserError, match=message):
        with_values(recipes.recipe("sasrec"), values)


def test_types_in_words():
    words = {path: type_of(variants) for path, variants in fields().items()}
    assert words["train.schedule.kind"] == "cosine | wsd | constant"
    assert words["train.max_steps"] == "integer ≥ 1 or none"
    assert words["transfer.label_shares"] == "list of numbers > 0, ≤ 1"
    assert words["logs.columns"] == "JSON object"
    assert words["continual.tasks"] == "JSON list of objects"
