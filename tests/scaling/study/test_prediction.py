"""Predictions are written once, before the runs they are about, and cover a known law; a known floor beside the law."""

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.scaling.law.law import study_law
from ray_userrep.scaling.study.point import law_points
from ray_userrep.scaling.study.prediction import FILE, beside_floor, refuse_unregistered, register

HELD = {"grid-n1000000-d10000000": (1e6, 1e7)}


def law(n, d):
    return 1.8 + 20.0 / n**0.35 + 100.0 / d**0.37


def rows(num_sizes=5):
    rng = np.random.default_rng(0)
    return [
        {"kind": "grid", "N": n, "D": d, "C": 6 * n * d, "epochs": 1.0,
         "loss": float(law(n, d) * np.exp(0.003 * rng.normal()))}
        for n in np.geomspace(3e3, 3e5, num_sizes) for d in np.geomspace(1e5, 3e6, 4)
    ]  # fmt: skip


def test_the_prediction_covers_what_a_known_law_gives_and_is_never_written_again(tmp_path):
    folder = str(tmp_path)
    told = register(folder, rows(), HELD)
    one = next(p for p in told["predictions"] if p["form"] == "power_law")
    assert one["setting"] == "grid-n1000000-d10000000" and (one["N"], one["D"]) == (1e6, 1e7)
    assert one["run"]["low"] < law(1e6, 1e7) < one["run"]["high"]
    before = storage.read_text(f"{folder}/{FILE}")
    assert register(folder, rows(4), {"another": (1e7, 1e7)}) == told
    assert storage.read_text(f"{folder}/{FILE}") == before


def test_runs_that_allow_no_law_are_said_to(tmp_path):
    told = register(str(tmp_path), rows(num_sizes=1)[:4], HELD)
    assert told["law"] is None and "needs at least" in told["no_law"]
    refuse_unregistered(str(tmp_path), next(iter(HELD)))


def test_a_held_out_run_without_its_prediction_is_refused(tmp_path):
    with pytest.raises(UserError, match="trained only after its loss was predicted"):
        refuse_unregistered(str(tmp_path), "grid-n9-d9")
    register(str(tmp_path), rows(), HELD)
    with pytest.raises(UserError, match="predicts grid-n1000000-d10000000"):
        refuse_unregistered(str(tmp_path), "grid-n9-d9")


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
