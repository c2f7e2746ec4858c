"""The page of a transfer: it recommends what validation chose, and draws every arm."""

import re

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.recipes import recipe
from ray_userrep.report.pages import transfer

ARMS = ("scratch", "frozen_mlp", "head_only", "last_layers", "full", "lora", "serial_patches", "uaf_hard", "uaf_soft")
COST = {
    "trained": 1, "trained_share": 1.0, "added": 0, "steps": 1.0, "seconds": 1.0, "learning_rates": [0.1],
    "readouts": ["last"], "usage": {},
}  # fmt: skip


def metric(mean):
    return {"auc": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05}}


def at(train_users):
    """Arms that get better on test from the first to the last, and worse on validation; a simple method between."""
    test = dict(zip(ARMS, np.linspace(0.6, 0.8, len(ARMS)).tolist(), strict=True))
    over = {"mean": 0.1, "low": -0.1, "high": 0.2, "p": 0.4, "verdict": "no difference shown"}
    return {
        "train_users": train_users,
        "metrics": {name: metric(mean) for name, mean in (test | {"SVD": 0.71}).items()},
        "baselines": ["SVD"], "validation": {name: -mean for name, mean in test.items()},
        "cost": {name: COST for name in ARMS}, "over_scratch": {name: over for name in ARMS[1:]},
    }  # fmt: skip


def made():
    task = {
        "headline": "auc", "kept": None, "look_alikes": {}, "measures": ["auc"], "users": {"valid": 9, "test": 9},
        "smaller_is_better": [], "fusion": None, "shares": {"1": at(900), "0.1": at(90)}, "activity": {},
    }  # fmt: skip
    counts = {"order": "time", "items": 9, "items_known": 9, "items_held_out": 0}
    chosen = recipe("sasrec").model_dump(mode="json")
    return {"job": "transfer", "recipe": chosen, "tasks": {"gender": task}, "counts": counts, "encoders": ["e"],
            "overlap": True}  # fmt: skip


@pytest.fixture
def result():
    return made()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("transfer"))
    storage.write_json(f"{place}/result.json", made())
    return storage.read_text(transfer.draw(place))


def test_the_tinted_row_is_the_one_that_validation_chose(page, result):
    assert re.findall(r"<tr class=ours><td>(\w+)", page) == ["scratch"]
    assert "gender: validation chose scratch, auc 0.6000 [0.5500, 0.6500] on test" in transfer.lead(result)
    assert "the best simple method, SVD, has 0.7100" in transfer.lead(result)


def test_the_choice_is_that_of_all_labels(result):
    shares = result["tasks"]["gender"]["shares"]
    shares["0.1"]["validation"]["lora"] = 2.0
    assert transfer.chosen(result["tasks"]["gender"]) == "scratch"
    shares["1"]["validation"]["lora"] = 2.0
    assert transfer.chosen(result["tasks"]["gender"]) == "lora"


def test_every_arm_has_a_bar_a_line_and_a_row_in_the_same_order(page):
    best_first = ["uaf_soft", "uaf_hard", "serial_patches", "lora", "SVD", "full", "last_layers", "head_only",
                  "frozen_mlp", "scratch"]  # fmt: skip
    bars, lines = (re.findall(r"<!-- (.*?) -->", drawn) for drawn in re.findall(r"<svg.*?</svg>", page, re.S))
    assert [text for text in bars if text in best_first] == best_first[::-1], "from the bottom to the top"
    assert [text for text in lines if text in best_first] == best_first
    assert {"90", "900"} <= set(lines)
    table = page[page.index("<th>system</th>") :]
    assert re.findall(r"<td>(\w+)</td>", table[: table.index("</table>")]) == best_first


def test_where_smaller_is_better_the_order_and_the_choice_turn_round(page, result):
    task = result["tasks"]["gender"] | {"smaller_is_better": ["auc"]}
    assert transfer.chosen(task) == "uaf_soft"  # whose validation figure is the smallest
    turned = transfer.printed(result | {"tasks": {"gender": task}}).splitlines()
    as_it_was = transfer.printed(result).splitlines()
    rows = slice(2, 2 + len(ARMS) + 1)
    assert [line.split()[0] for line in turned[rows]] == [line.split()[0] for line in as_it_was[rows]][::-1]
    assert "validation chose uaf_soft, auc 0.8000" in transfer.lead(result | {"tasks": {"gender": task}})
    assert "the best simple method, SVD," in transfer.lead(result | {"tasks": {"gender": task}})
