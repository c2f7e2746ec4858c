"""The whole study, its doubts, and the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ray_userrep.errors import UserError
from ray_userrep.scaling.__main__ import main
from ray_userrep.scaling.law.law import law_table, study_law
from ray_userrep.scaling.law.points import LawPoints

DRAWS = 60


def said(points: LawPoints) -> str:
    return "\n".join(study_law(points, num_draws=DRAWS)["warnings"])


def test_a_study_is_json_and_holds_everything(make_points):
    told = study_law(make_points(num_seeds=2), [(4e6, 4e7)], [1e14], DRAWS)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["preferred"] == told["law"]["form"] == "power_law"
    assert 0.25 < told["law"]["constants"]["α"]["low"] < told["law"]["constants"]["α"]["high"] < 0.45
    assert told["predictions"][0]["loss"]["low"] < told["predictions"][0]["loss"]["high"]
    assert told["optima"][0]["C"] == 1e14 and 0.4 < told["exponents"]["a"]["value"] < 0.6
    text = law_table(told)
    assert all(word in text for word in ("E + A/N^α + B/D^β", "preferred", "loss of one run", "for 1e+14 FLOPs"))


def test_points_that_prefer_another_form_are_predicted_by_it_too(make_points):
    points = make_points(truth=lambda n, d: 9 - 0.2 * np.log(n) - 0.2 * np.log(d))
    told = study_law(points, [(4e6, 4e7)], num_draws=DRAWS)
    assert [one["form"] for one in told["predictions"]] == ["power_law", "log_linear"]
    assert any("prefer the form log_linear" in line for line in told["warnings"])


def test_noise_alone_is_no_law(make_points):
    assert "no law" in said(make_points(noise=0.01, truth=lambda n, d: 3.0 + 0 * n))


def test_sizes_without_data_give_a_law_in_size(make_points):
    points = make_points(truth=lambda n, d: 1.8 + 20 / n**0.35, num_sizes=10, num_data=1)
    told = study_law(points, [(1e7, 1e5)], num_draws=DRAWS)
    assert told["law"]["form"] == "power_law_N" and "exponents" not in told
    assert "nothing is said about D" in "\n".join(told["warnings"])
    with pytest.raises(UserError, match="budget"):
        study_law(points, budgets=[1e14], num_draws=DRAWS)


def test_sizes_and_data_that_grow_together_give_a_law_in_compute():
    n = np.geomspace(1e4, 1e7, 12)
    told = study_law(LawPoints.of(n, 20 * n, 1.8 + 20 / n**0.35), num_draws=DRAWS)
    assert told["law"]["form"] == "power_law_C" and "cannot be told apart" in told["warnings"][0]


def test_one_size_and_little_data_are_no_law():
    with pytest.raises(UserError, match="1 of N and 2 of D"):
        study_law(LawPoints.of([1e4] * 6, [1e5, 1e6] * 3, [3.0, 2.0] * 3))


def test_five_points_have_a_law_without_intervals():
    points = LawPoints.of([1e3, 1e4, 1e5, 1e6, 1e6], [1e5, 1e6, 1e5, 1e7, 1e5], [5.2, 3.4, 3.6, 2.3, 3.5])
    told = study_law(points, [(1e7, 1e7)], [1e13], DRAWS)
    assert told["law"]["constants"]["α"]["low"] is None
    assert "no intervals" in "\n".join(told["warnings"]) and "no interval" in law_table(told)


def test_doubts_about_the_points_are_said(make_points):
    points = make_points(num_sizes=3)
    assert "3 different N" in said(points)
    narrow = LawPoints.of(points.N**0.3, points.D, points.loss)
    assert "N spans 0.76 decades" in said(narrow)
    assert "there twice" in said(points.take(np.array([*range(len(points)), 0])))
    repeated = LawPoints.of(points.N, points.D, points.loss, epochs=points.D / 1e6)
    assert "up to 10 epochs" in said(repeated)
    uneven = LawPoints.of(points.N, points.D, points.loss, 6 * points.N * points.D * np.geomspace(1, 3, len(points)))
    assert "is 6 to 18 FLOPs" in said(uneven)


def test_doubts_about_the_law_are_said(make_points):
    no_floor = make_points(seed=4, truth=lambda n, d: 20 / n**0.2 + 100 / d**0.25)
    assert "E is not told apart from 0" in said(no_floor)
    points = make_points(noise=0.002)
    points.loss[5] *= 1.5
    assert f"far off the law (line {points.lines[5]})" in said(points)
    compute = 1e12
    n = np.geomspace(1e4, 1e7, 12)
    line = LawPoints.of(n, compute / n, 1.8 + 20 / n**0.35 + 100 / (compute / n) ** 0.37)
    assert "one IsoFLOP line" in said(line)
    assert "far beyond" in "\n".join(study_law(make_points(), budgets=[1e20], num_draws=DRAWS)["warnings"])


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_points_made_elsewhere_are_checked_too(make_points, bad):
    points = make_points()
    points.loss[3] = bad
    with pytest.raises(UserError, match="line 5, column loss"):
        study_law(points)


def write_csv(path, points: LawPoints) -> str:
    rows = [f"{n},{d},{loss}" for n, d, loss in zip(points.N, points.D, points.loss, strict=True)]
    path.write_text("\n".join(["N,D,loss", *rows]))
    return str(path)


def test_the_command_prints_a_table_and_writes_json(make_points, tmp_path, capsys):
    path, out = write_csv(tmp_path / "p.csv", make_points()), tmp_path / "out.json"
    arguments = ["--predict", "4e6,4e7", "1e7,1e8", "--budget", "1e14", "--json", str(out), "--draws", str(DRAWS)]
    assert main(["fit", path, *arguments]) == 0
    told = json.loads(out.read_text())
    assert len(told["predictions"]) == 2 and "L = E + A/N^α + B/D^β" in capsys.readouterr().out


@pytest.mark.parametrize("predict", ["4e6", "a,b", "-1,2", "1,2,3"])
def test_the_command_refuses_a_bad_place(make_points, tmp_path, capsys, predict):
    assert main(["fit", write_csv(tmp_path / "p.csv", make_points()), f"--predict={predict}"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_command_runs_without_ray_and_torch(tmp_path):
    (tmp_path / "p.csv").write_text("N,D\n")
    blocked = "import sys; sys.modules.update(ray=None, deepspeed=None, torch=None)\n"
    code = (
        blocked + f"from ray_userrep.scaling.__main__ import main; sys.exit(main(['fit', {str(tmp_path / 'p.csv')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.strip().endswith("needed are N, D and loss")
