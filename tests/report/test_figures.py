"""Pictures: all that is given is drawn, told apart, named, and large enough to read on a telephone."""

import re

import pytest
from matplotlib.axes import Axes

from ray_userrep.report import counts, figures

MANY = {f"line {n}": ([10.0, 100.0], [0.1 * n, 0.2 + n / 50]) for n in range(18)}
FEW = dict(list(MANY.items())[:3])


def named(drawn):
    """The texts of a drawing, in their order; letters are outlines, the text stands beside them."""
    return re.findall(r"<!-- (.*?) -->", drawn)


@pytest.fixture
def plotted(monkeypatch):
    seen, plot = [], Axes.plot

    def spy(self, x, y, style, color, **more):
        seen.append((color, style, list(x), list(y)))
        return plot(self, x, y, style, color=color, **more)

    monkeypatch.setattr(Axes, "plot", spy)
    return seen


@pytest.mark.parametrize("draw", [lambda: figures.curves({"q": MANY}, "x"), lambda: figures.by_size(MANY, "x", "y")])
def test_every_line_is_drawn_named_and_unlike_the_others(plotted, draw):
    told = [text for text in named(draw()) if text.startswith("line ")]
    assert [(x, y) for _, _, x, y in plotted] == list(MANY.values())
    assert len({(colour, style) for colour, style, _, _ in plotted}) == len(MANY)
    assert sorted(told) == sorted(MANY)
    ends = [MANY[name][1][-1] for name in told]
    assert ends == sorted(ends, reverse=True), "names stand as the lines end"


def test_counts_on_an_axis_are_those_that_there_are():
    texts = named(figures.by_size({"a": ([312, 3120], [1, 2]), "_b $x": ([1560], [1])}, "users", "auc"))
    assert [text for text in texts if text.replace(",", "").isdigit()] == ["312", "1,560", "3,120"]
    assert any(text.endswith("_b $x") for text in texts)


def test_every_group_of_points_is_named_and_unlike_the_others():
    groups = {f"group {n}": ([n], [n]) for n in range(20)}
    drawing = figures.scatter({"data": groups}, "x", "y")
    drawn = [(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in drawing.axes[0].collections]
    assert len(set(drawn)) == 20
    assert [text.get_text() for text in drawing.axes[0].get_legend().get_texts()] == list(groups)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.svg(figures.bars({"a": {"mean": 1, "low": 0, "high": 2}}, "x", "a")),
        lambda: figures.curves({"q": FEW, "r": FEW}, "x"),
        lambda: figures.by_size(FEW, "x", "y"),
        lambda: counts.days_figure({"2024-01-01": 3}),
        lambda: counts.lengths_figure({2**n: 5 for n in range(16)}),
        lambda: counts.tails_figure({"items": {1: 7, 9: 1}, "users": {2: 4}}),
    ],
)
def test_at_400_pixels_nothing_is_scrolled_and_letters_have_eight_pixels(draw):
    for drawn in re.findall(r"<svg.*?</svg>", draw(), re.S):
        least = float(re.search(r"min-width: (\d+)px", drawn)[1])
        points = float(re.search(r'width="([\d.]+)pt"', drawn)[1])
        smallest = min(float(scale) for scale in re.findall(r"scale\((0\.\d+) -0\.\d+\)", drawn)) * 100
        assert least <= 400 - 2 * 16
        assert smallest * (400 - 2 * 16) / points >= 8
