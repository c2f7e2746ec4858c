"""The page of a sequence of tasks: every method's course is drawn, and tables stand in the order of their figures."""

import re

import pytest

from ray_userrep import storage
from ray_userrep.recipes import recipe
from ray_userrep.report.pages import continual

ENDS = {"in_turn": 0.3, "single": 0.6, "head_only": 0.5}


def cell(mean):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


def method(end):
    matrix = [[cell(0.7), cell(0.7), cell(end)], [None, cell(0.6), cell(end)], [None, None, cell(end)]]
    return {
        "matrix": matrix, "unchanged": [[True, False, False], [None, True, False], [None, None, True]],
        "forgetting": [0.7 - end, 0.6 - end, 0.0], "steps": [1.0] * 3, "seconds": [1.0] * 3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    task = {"headline": "auc", "users": {"test": 9}, "baselines": {"SVD": cell(0.55)}}
    result = {
        "job": "continual", "recipe": recipe("sasrec").model_dump(mode="json"), "over_single": {}, "overlap": True,
        "tasks": dict.fromkeys(("gender", "age", "country"), task), "counts": {"order": "time"},
        "methods": {name: method(end) for name, end in ENDS.items()},
    }  # fmt: skip
    place = str(tmp_path_factory.mktemp("continual"))
    storage.write_json(f"{place}/result.json", result)
    return storage.read_text(continual.draw(place))


def test_each_task_that_others_follow_has_a_panel_with_all_methods(page):
    panels = [re.findall(r"<!-- (.*?) -->", drawn) for drawn in re.findall(r"<svg.*?</svg>", page, re.S)]
    assert len(panels) == 2 and "gender (auc)" in panels[0] and "age (auc)" in panels[1]
    for texts in panels:
        assert [text for text in texts if text in ENDS] == ["single", "head_only", "in_turn"]


def test_the_best_on_test_is_named_and_stands_first(page):
    assert page.count("Best on test is single.") == 3
    table = page[page.index("1. gender, at the end") :]
    assert re.findall(r"<td>(\w+)</td>", table)[:4] == ["single", "SVD", "head_only", "in_turn"]
