"""The page of a study: every figure has its values, and what is not there is said."""

import numpy as np
import pytest

from ray_userrep.report.pages.scaling import scaling_page

LINE = {"x": [1e3, 1e4], "value": [3.0, 2.9], "low": [2.9, 2.8], "high": [3.1, 3.0]}


def estimate(value):
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


def row(kind="grid", size=1000, data=5000, loss=3.0, **more):
    return {
        "name": f"{kind}-n{size}-d{data}-s0", "setting": f"{kind}-n{size}-d{data}", "kind": kind, "size": size,
        "data": data, "seed": 0, "held_out": False, "outcome": "trained" if loss else "diverged", "N": size, "D": data,
        "C": 6.0 * size * data, "compute": 6.0 * size * data, "flops": 1e9, "epochs": 1.0, "users": 10, "loss": loss,
        "ndcg@10": loss and 0.1, "profile": {"age": 0.7} if loss else {}, "max_len": 8, "batch_tokens": 64,
        "learning_rate": 1e-3, "seconds": 1.0,
    } | more  # fmt: skip


@pytest.fixture
def told():
    rows = [row(size=s, data=d, loss=3 + 10 / s) for s in (1000, 3000, 9000) for d in (5000, 20000)]
    rows += [row("isoflop", s, 10**8 // s, 3.1 + 0.1 * abs(np.log(s / 3000))) for s in (1000, 3000, 9000)]
    rows += [row("length", 3000, 20000, max_len=4), row(size=1, loss=None)]
    optimum = {"C": 1e12} | {name: estimate(v) for name, v in (("N", 1e6), ("D", 2e5), ("loss", 2.5))}
    law = {
        "law": {"formula": "E + A/N^α", "constants": {"E": estimate(2.0)}, "log_residuals": [0.01] * 8},
        "points": {"count": 8, "N": [1e3] * 8, "D": [5e3] * 8}, "preferred": None, "exponents": {"a": estimate(0.5)},
        "comparison": [{"form": "power_law", "num_constants": 5, "aicc": None, "held_out_error": 0.01}],
        "isoflop": {"valleys": [{"inside": True, "size": 3000, "loss": 3.1}]},
        "curves": {"N": {"5000": LINE}, "D": {"1000": LINE}}, "frontier": [optimum, optimum | {"C": 1e13}],
        "optima": [optimum | {"flops": None, "epochs": 0.2}],
    }  # fmt: skip
    proof = {"setting": "grid-n9000-d20000", "form": "power_law", "predicted": 3.0, "low": None, "high": None,
             "measured": 3.1, "seeds": [3.1], "inside": False}  # fmt: skip
    samples = [dict(minutes=i, nodes=i, cores=4 * i, cores_used=3 * i, gpus=i, gpus_used=0) for i in range(3)]
    return {"rows": rows, "law": law, "proof": [proof], "prediction": {"date": "2024-01-01"}, "warnings": ["<doubt>"],
            "floor": None, "tuning": [], "utilisation": samples}  # fmt: skip


def test_every_figure_is_drawn_and_its_values_are_handed_back(told):
    page, figures = scaling_page("small", told)
    assert set(figures) == {"loss", "isoflop", "frontier", "downstream", "residuals", "axes", "utilisation"}
    assert page.count("<svg") == 7 and "&lt;doubt&gt;" in page and "2024-01-01" in page
    assert "1 of them diverged" in page and "0 of 1 predictions" in page
    assert figures["utilisation"]["cores_used"] == [0, 3, 6]
    assert list(zip(figures["axes"]["rows"]["kind"], figures["axes"]["rows"]["max_len"], strict=True)) == [
        ("length", 4), ("grid", 8)
    ]  # fmt: skip
    assert figures["loss"]["rows"]["loss"] == [one["loss"] for one in told["rows"][:9]]


def test_a_study_without_a_law_says_so(told):
    page, figures = scaling_page("small", told | {"law": None, "proof": [], "prediction": None})
    assert "they allow no law" in page and "residuals" not in figures and "From a budget" not in page


def test_the_rates_that_were_tried_are_listed_by_size(told):
    tried = [
        row("tune", size, data, loss, factor=factor, chosen=chosen)
        for size, data, factor, loss, chosen in (
            (1000, 5000, 0.5, 3.2, False), (1000, 5000, 2.0, 3.1, True), (9000, 400, 0.5, 3.7, True),
            (9000, 400, 2.0, None, False),
        )
    ]  # fmt: skip
    page, _ = scaling_page("small", told | {"tuning": tried})
    table = page[page.index("Learning rates tried") :]
    places = [table.index(part) for part in ("rate × 0.5", "rate × 2", "3.2000", "[3.1000]", "9,000", "[3.7000]", "–")]
    assert places == sorted(places)
    assert "Learning rates tried" not in scaling_page("small", told)[0]


def test_a_known_floor_stands_beside_the_law(told):
    laws = [
        {"left_out": [], "runs": 8, "E": estimate(2.0), "inside": False, "preferred": "broken_N"},
        {"left_out": [1000, 3000], "runs": 4, "E": None, "inside": False, "preferred": None},
    ]
    page, _ = scaling_page("small", told | {"floor": {"nats": 2.3, "laws": laws, "verdict": "It is <missed>."}})
    table = page[page.index("It is &lt;missed&gt;.") :]
    places = [table.index(part) for part in ("none", "2 [1.8, 2.2]", "broken_N", "1,000, 3,000", "–")]
    assert places == sorted(places)
