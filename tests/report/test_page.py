"""The page: whole, self-contained, safe to open."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.axes import Axes

from ray_userrep.report import figures
from ray_userrep.report.page import Section, drawing, facts, figure, listing, metrics_table, neighbours, page

METRIC = {"mean": 0.2, "low": 0.19, "high": 0.21}


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def whole():
    rng = np.random.default_rng(0)
    rows = {"popularity": {"ndcg@10": METRIC}, "ours <1>": {"ndcg@10": METRIC}}
    bars = figures.bars({name: row["ndcg@10"] for name, row in rows.items()}, "NDCG@10", "ours <1>")
    return page(
        "A & B",
        "verdict",
        [
            Section("Result", figure(figures.svg(bars), "c") + metrics_table(rows, ["ndcg@10"], "ours <1>", "note")),
            Section("Near", neighbours({"<script>alert(1)</script>": [("cup", 0.91)]})),
            Section("Map", figure(figures.user_map(rng.normal(size=(50, 2)), ["UK"] * 40 + ["FR"] * 10), "users")),
            Section("Curves", figure(figures.curves({"loss": {"a": ([1, 2], [3, 2])}}, "epoch"), "")),
            Section("Facts", facts({"users": "4,339"})),
        ],
    )


def test_it_needs_nothing_from_anywhere():
    text = whole()
    tags = Tags(text).seen
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe")]
    sources = [
        value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href", "xlink:href")
    ]
    assert all(value.startswith(("#", "data:")) for value in sources)
    assert not re.search(r"url\(\s*['\"]?https?:", text)


def test_names_are_shown_not_run():
    text = whole()
    assert "&lt;script&gt;alert(1)" in text and "<script>alert" not in text
    assert "A &amp; B" in text and "ours &lt;1&gt;" in text


def test_a_figure_and_its_interval_stay_on_one_line():
    text = listing(["arm", "over scratch"], [["full", "-0.12 [-0.55, +0.29], p 0.58"], ["a [1] <b>", ""]])
    assert "<td class=interval>-0.12 [-0.55, +0.29], p 0.58</td>" in text
    assert "<td>a [1] &lt;b&gt;</td>" in text


def test_a_column_of_numbers_is_set_to_the_right_with_signs_too():
    text = listing(["form", "AICc"], [["power_law", "-535.2"], ["constant", "+4"]])
    assert "<td class=number>-535.2</td>" in text and "<td>power_law</td>" in text


def test_tables_hold_means_with_their_intervals():
    assert "0.2000 <small>[0.1900, 0.2100]</small>" in whole()
    assert "<tr class=ours><td>ours &lt;1&gt;" in whole()


def test_the_best_of_each_metric_is_bold_whoever_it_is():
    low = {"mean": 0.1, "low": 0.09, "high": 0.11}
    rows = {"theirs": {"hr": METRIC, "mrr": low}, "ours": {"hr": low, "mrr": METRIC}}
    table = metrics_table(rows, ["hr", "mrr"], "ours", "")
    cells = re.findall(r'<td class="number( best)?">0\.(\d)', table)
    assert cells == [(" best", "2"), ("", "1"), ("", "1"), (" best", "2")]


def test_what_was_not_measured_of_a_system_stays_empty():
    table = metrics_table({"a": {"hr": METRIC}, "b": {"mrr": METRIC}}, ["hr", "mrr"], "a", "")
    assert table.count("<td></td>") == 2 and table.count("best") == 2


def test_figures_take_the_colours_of_the_page_they_are_in():
    text = whole()
    used = set(re.findall(r"var\((--\w+)", text))
    assert used == set(re.findall(r"(--\w+): #", text)) and "--ink" in used
    drawings = text[text.index("<figure>") :]
    assert not re.search(rf"(?<!, ){figures.INK}", drawings)


def test_figures_are_the_same_for_the_same_data():
    assert whole() == whole()


def drawn_groups(monkeypatch, labels):
    seen, scatter = {}, Axes.scatter

    def spy(self, x, y, *rest, label, alpha, **style):
        seen[label] = (len(x), alpha)
        return scatter(self, x, y, *rest, label=label, alpha=alpha, **style)

    monkeypatch.setattr(Axes, "scatter", spy)
    assert figures.user_map(np.random.default_rng(0).normal(size=(len(labels), 2)), labels).startswith("<svg")
    return seen


def test_every_user_is_drawn_rare_labels_joined_and_only_the_commonest_pale(monkeypatch):
    labels = ["UK"] * 50 + [f"country {i}" for i in range(20) for _ in range(2)]
    seen = drawn_groups(monkeypatch, labels)
    assert sum(count for count, _ in seen.values()) == len(labels)
    assert seen["other (24)"] == (24, 1.0) and len(seen) == 10
    assert [label for label, (_, alpha) in seen.items() if alpha < 1] == ["UK (50)"]


@pytest.mark.parametrize("label", ["$x$ and $\\bad{$", "other", "<b>"])
def test_any_label_can_be_drawn(monkeypatch, label):
    assert sum(count for count, _ in drawn_groups(monkeypatch, [label, label, "b"]).values()) == 3


def test_a_picture_that_fails_is_a_sentence_on_the_page(caplog):
    def broken() -> str:
        raise ZeroDivisionError("no points")

    said = drawing(broken, "Bars of everything.")
    assert "could not be drawn (ZeroDivisionError: no points)" in said and "Bars of everything." in said
    assert "Bars of everything." in caplog.text
    assert drawing(lambda: "<svg/>", "Bars.") == figure("<svg/>", "Bars.")
