"""Predictions are written once, before the runs they are about, and cover a known law."""

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.scaling.study.prediction import FILE, refuse_unregistered, register

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
