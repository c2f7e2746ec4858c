"""A known floor beside the law: held by a law that is one, missed and explained where small sizes are off it."""

import numpy as np
import pytest

from ray_userrep.scaling.law.law import study_law
from ray_userrep.scaling.study.floor import beside_floor
from ray_userrep.scaling.study.rows import law_points

E = 2.0
SIZES = (1000, 3000, 10_000, 30_000, 100_000)


def rows_of(off: float):
    """Runs of a known law with some noise; those of the smallest size are `off` nats above it where data abound."""
    rng = np.random.default_rng(0)
    rows = []
    for n in SIZES:
        for d in (10_000, 30_000, 100_000, 300_000):
            loss = E + 60 / n**0.6 + 900 / d**0.7 + off * (n == SIZES[0]) * np.log(d / 10_000)
            rows += [
                {"size": n, "kind": "grid", "N": n, "D": d, "C": 6.0 * n * d, "epochs": 1.0,
                 "loss": loss * np.exp(rng.normal(0, 0.001))}
                for _ in range(2)
            ]  # fmt: skip
    return rows


def told_of(rows, nats: float):
    return beside_floor(rows, study_law(law_points(rows)) if rows else None, nats)


def test_a_law_of_runs_that_follow_one_holds_the_floor():
    beside = told_of(rows_of(0.0), E)
    assert [one["left_out"] for one in beside["laws"]] == [[], [1000], [1000, 3000]]
    assert [one["runs"] for one in beside["laws"]] == [40, 32, 24]
    first = beside["laws"][0]
    assert first["inside"] and first["E"]["low"] <= E <= first["E"]["high"]
    assert beside["verdict"] == "The least possible loss is 2.0000 nats. The interval of the law's E holds it."


def test_a_size_that_is_off_the_law_is_named_where_it_hides_the_floor():
    beside = told_of(rows_of(0.08), E)
    assert [one["inside"] for one in beside["laws"]][:2] == [False, True]
    assert "does not hold it; without size 1,000 it does" in beside["verdict"]


@pytest.mark.parametrize(
    ("rows", "ending"), [([], "The runs allow no law."), (rows_of(0.0), "without the smallest sizes.")]
)
def test_what_the_further_fits_cannot_say_is_not_said(rows, ending):
    assert told_of(rows, 0.5)["verdict"].endswith(ending)
