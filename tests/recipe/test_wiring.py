"""A new kind of part that is not wired is named: by the type checker, by whatever meets it, and by the unions here."""

import subprocess
import sys
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest

from ray_userrep.corpus.splits import Split
from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.items.build import build_items
from ray_userrep.objectives.build import build_objective, build_softmax
from ray_userrep.planner.accounting import Catalogue, training_cost
from ray_userrep.recipe import corpus, encoder, objective, transfer
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.settings import Settings
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.tasks.build import read_tasks

ROOT = Path(__file__).parents[2]
OBJECTIVES = "ray_userrep/recipe/objective.py"


class Unwired(Settings):
    """A part that nothing knows."""

    kind: Literal["unwired"] = "unwired"

    def lookahead(self) -> int:
        return 0


class Asks(Settings):
    task: Any = Unwired()


def members(union: Any) -> set[type]:
    """Classes of a union of configs, which may lie in annotations and other unions."""
    return {union} if isclass(union) else {one for part in get_args(union) for one in members(part)}


@pytest.mark.parametrize(
    ("module", "tag", "unions"),
    [
        (objective, "kind", [objective.ObjectiveConfig, objective.SoftmaxConfig]),
        (encoder, "kind", [encoder.BackboneConfig, encoder.ItemsConfig]),
        (transfer, "kind", [transfer.TaskConfig]),
        (corpus, "rule", [corpus.SplitConfig]),
    ],
)
def test_every_config_with_a_kind_is_in_its_union(module, tag, unions):
    named = {
        one
        for _, one in getmembers(module, isclass)
        if one.__module__ == module.__name__ and issubclass(one, Settings) and tag in one.__annotations__
    }
    assert named and named - set().union(*map(members, unions)) == set()


@pytest.mark.parametrize(
    "meets",
    [
        lambda one: build_objective(one, EncoderConfig(), None),
        lambda one: build_softmax(one, None),
        lambda one: build_backbone(one, 8, 8),
        lambda one: build_items(one, 8, 8, 0, None),
        lambda one: build_arm("unwired", None),
        lambda one: read_tasks(Asks(), None, None, None, None, "last", ()),
        lambda one: training_cost(EncoderConfig(), one, Catalogue(9, 0), [4]),
        lambda one: Split(one).positions(np.zeros(3)),
    ],
)
def test_what_meets_an_unwired_part_says_so(meets):
    with pytest.raises(AssertionError, match="Expected code to be unreachable"):
        meets(Unwired())


@pytest.mark.slow
def test_the_type_checker_names_every_place_that_does_not_know_a_new_objective(tmp_path):
    source = (ROOT / OBJECTIVES).read_text()
    new = source[source.index("class HistoryConfig") : source.index("class ItemContrastConfig")]
    new = new.replace("HistoryConfig", "NewConfig").replace('Literal["history"] = "history"', 'Literal["new"] = "new"')
    changed = source.replace("class ItemContrastConfig", f"{new}class ItemContrastConfig").replace(
        "    | HistoryConfig\n", "    | HistoryConfig\n    | NewConfig\n"
    )
    assert changed.count("NewConfig") == 2
    (tmp_path / "objective.py").write_text(changed)
    shadow = ["--shadow-file", OBJECTIVES, str(tmp_path / "objective.py"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([sys.executable, "-m", "mypy", *shadow], cwd=ROOT, capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if "NewConfig" in line and "assert_never" in line]
    places = {line.split(":")[0] for line in told}
    assert places == {"ray_userrep/objectives/build.py", "ray_userrep/planner/accounting.py"}
