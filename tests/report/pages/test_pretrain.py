"""A whole page of a run: names that are markup are shown, and a result that is none is one clear line."""

import math
from html.parser import HTMLParser

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipes import recipe
from ray_userrep.report.pages import pretrain
from ray_userrep.workflows.report import run_report

EVIL = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</svg><iframe src=x>", "--><b>$x^", "'&amp;"]
METRIC = {"mean": 0.2, "low": 0.1, "high": 0.3}


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text outside of drawings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def result_of(evil: str) -> dict:
    """A result as the job stores it, with a name of every kind that comes from a log or a user."""
    named = evil.replace("/", "")
    chosen = with_values(recipe("sasrec"), {"name": named, "logs.uri": evil, "logs.columns": {"user_id": evil}})
    rows = {name: {"hr@10": METRIC, "ndcg@10": METRIC, "mrr@10": METRIC} for name in ("popularity", "encoder")}
    attribute = {"headline": "auc", "users": {"train": 9, "test": 9}, "metrics": {"encoder": {"auc": METRIC}}}
    slices = {"tail": {"targets": 4, "metrics": {system: {"ndcg@10": METRIC} for system in rows}}}
    corpus = {
        "interactions_per_day": {"2024-01-01": 9}, "num_interactions": 9, "num_users": 9, "num_items": 9, "num_ties": 0,
        "num_duplicates": 0, "k_core": {"users": 1, "items": 1}, "removed_by_k_core": {}, "domains": {evil: 9},
        "quarantined": {evil: 1}, "order": "time", "unread": {evil: {"count": 1, "examples": [evil]}},
        "num_relations": 0, "dropped_relations": {evil: 1},
    }  # fmt: skip
    angles = np.linspace(0, math.tau, 12)
    return {
        "job": "pretrain", "recipe": chosen.model_dump(mode="json"), "split_fingerprint": "s", "seed": 0,
        "metrics": rows["encoder"], "baselines": {"popularity": rows["popularity"]}, "universality": {}, "samples": {},
        "slices": slices, "repeats": 0.0,
        "profile": {evil: attribute}, "parameters": {"embedding": 1, "backbone": 1}, "timings": {"train": 1.0},
        "nearest_items": {evil: [(evil, 0.5)]}, "corpus": corpus,
        "counts": {"users": 12, "items": 9, "test_users": 9, "order": "time"},
        "user_map": {
            "attribute": evil, "xy": np.column_stack([np.cos(angles), np.sin(angles)]).tolist(),
            "labels": [evil, "other"] * 6, "failed": None,
        },
    }  # fmt: skip


@pytest.mark.parametrize("name", ["recipe", "baselines", "metrics", "profile", "nearest_items", "user_map", "corpus"])
@pytest.mark.parametrize("value", [3, "x", [[]]])
def test_a_result_that_says_something_else_is_one_clear_line(tmp_path, name, value):
    storage.write_json(f"{tmp_path}/result.json", result_of("a") | {name: value})
    with pytest.raises(UserError, match="what is stored there is not what a job of this version wrote"):
        run_report(str(tmp_path))


@pytest.mark.parametrize("evil", EVIL)
def test_names_of_a_run_are_shown_and_never_run(tmp_path, evil):
    storage.write_json(f"{tmp_path}/result.json", result_of(evil))
    page = Page(storage.read_text(pretrain.draw(str(tmp_path))))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "b", "object", "link", "a")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(evil) >= 6, "in titles, tables, neighbours, captions and facts"
    assert [tag for tag, _ in page.tags].count("svg") == 2 and "could not be drawn" not in page.text


def test_a_page_shows_every_system_by_how_often_items_occur(tmp_path):
    storage.write_json(f"{tmp_path}/result.json", result_of("a"))
    assert "tail (4 targets)" in Page(storage.read_text(pretrain.draw(str(tmp_path)))).text


@pytest.mark.parametrize(
    ("repeats", "excluded", "is_told"), [(0.34, True, True), (0.34, False, False), (0.05, True, False)]
)
def test_repeats_that_are_left_out_are_told_where_they_are_many(tmp_path, repeats, excluded, is_told):
    result = result_of("a") | {"repeats": repeats}
    result["recipe"]["evaluation"]["exclude_seen"] = excluded
    storage.write_json(f"{tmp_path}/result.json", result)
    for text in (pretrain.printed(result), storage.read_text(pretrain.draw(str(tmp_path)))):
        assert ("% of the items to be found were in their user" in text) == is_told
