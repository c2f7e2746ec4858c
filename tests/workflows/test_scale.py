"""A real study, small: killed and resumed it is the study that was left alone, and no finished run is repeated."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.command import parse
from ray_userrep.errors import UserError
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.recipes.ladder import ladder
from ray_userrep.report.pages.scaling import scaling_page
from ray_userrep.scaling.study.grid import StudyData
from ray_userrep.workflows.scale import printed, run_scale, summarise

ROOT = Path(__file__).parents[2]
STUDY = {"sizes": [800, 2000, 5000], "data": [300, 1100], "seeds": [0], "hold_out": 1, "item_width": 8, "floor": 3.0}
SMALL = ["--stream.max_len", "8", "--encoder.width", "16", "--corpus.num_buckets", "3", "--train.log_every", "2"]


def config(**changes) -> ScaleConfig:
    return ScaleConfig.model_validate(STUDY | changes)


def fields(place: Path) -> list[str]:
    return ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/run", *SMALL]


def results(folder: Path) -> dict[str, tuple[int, str]]:
    """When each finished run was written, and what."""
    found = sorted((folder / "points").glob("*/result.json"))
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_text()) for path in found}


def kill_after_first(place: Path) -> None:
    """Start the study as people do and kill it, hard, when its first run is done."""
    options = [part for name, value in STUDY.items() for part in (f"--scale.{name}", str(value))]
    options += ["--scale.cpus_per_run", str(os.cpu_count())]  # one after the other
    command = [sys.executable, str(ROOT / "jobs" / "scale.py"), *fields(place), *options]
    env = os.environ | {"RAY_ADDRESS": "local"}
    with (place / "killed.log").open("w") as log:
        job = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=place)
        while not results(place / "run") and job.poll() is None:
            time.sleep(0.05)
        job.send_signal(signal.SIGKILL)
        job.wait()
    assert results(place / "run"), (place / "killed.log").read_text()


@pytest.mark.system
def test_a_killed_study_goes_on_and_is_the_one_that_was_left_alone(
    ray_session, write_log, tmp_path, capsys, same_page_again
):
    write_log(f"{tmp_path}/log")
    kill_after_first(tmp_path)
    before = results(tmp_path / "run")
    assert 0 < len(before) < 6 and not (tmp_path / "run" / "prediction.json").exists()
    recipe = parse(fields(tmp_path))
    run_scale(recipe, config())
    after = results(tmp_path / "run")
    assert len(after) == 6 and {name: after[name] for name in before} == before
    printed = capsys.readouterr().out
    assert "5/5 runs" in printed and "1/1 runs" in printed and "predicted grid-n5000-d1100" in printed
    assert "The least possible loss is 3.0000 nats." in printed

    alone = recipe.model_copy(update={"run": f"{tmp_path}/alone"})
    run_scale(alone, config())
    ours, theirs = (storage.read_json(f"{tmp_path}/{name}/result.json") for name in ("run", "alone"))
    same = ("name", "held_out", "outcome", "N", "D", "C", "flops", "learning_rate", "batch_tokens")
    for one, other in zip(ours["rows"], theirs["rows"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert {name: one[name] for name in same} == {name: other[name] for name in same}
    check_study(tmp_path / "run", ours)
    same_page_again(f"{tmp_path}/run")

    untouched = results(tmp_path / "run")
    run_scale(recipe, config())
    assert results(tmp_path / "run") == untouched
    with pytest.raises(UserError, match=r"study of something else \(it differs in stream.max_len"):
        run_scale(recipe.model_copy(update={"stream": recipe.stream.model_copy(update={"max_len": 6})}), config())


@pytest.mark.system
def test_what_was_trained_before_it_was_predicted_proves_nothing(ray_session, write_log, tmp_path, capsys):
    write_log(f"{tmp_path}/log")
    recipe, small = parse(fields(tmp_path)), config(sizes=[800], data=[300])
    run_scale(recipe, small.model_copy(update={"hold_out": 0}))
    assert "no law: 1 runs" in capsys.readouterr().out
    for seeds in ((0,), (1,)):  # another seed of it is as good as the run itself
        run_scale(recipe, small.model_copy(update={"seeds": seeds}))
        assert "trained before they were predicted" in capsys.readouterr().out
    assert not (tmp_path / "run" / "prediction.json").exists()
    with pytest.raises(UserError, match=r"was trained with another train\.learning_rate"):
        run_scale(recipe, config(sizes=[800], data=[300], tune=[0.5], hold_out=0))


def check_study(folder: Path, told: dict) -> None:
    """Held-out runs began after their prediction; data, users and page are what the study says."""
    rows = {row["name"]: row for row in told["rows"]}
    held = [row for row in rows.values() if row["held_out"]]
    assert [row["name"] for row in held] == ["grid-n5000-d1100-s0"]
    predicted = (folder / "prediction.json").stat().st_mtime
    for row in rows.values():
        began = storage.read_json(f"{folder}/points/{row['name']}/result.json")["point"]["began"]
        assert (began > predicted) == row["held_out"]
        assert 0 < row["ndcg@10"] <= 1 and "country" in row["profile"] and row["outcome"] == "trained"
        assert abs(row["D"] / row["data"] - 1) < 0.5
    assert len(told["proof"]) >= 1 and told["proof"][0]["measured"] == held[0]["loss"]
    assert told["law"]["points"]["count"] == 6
    page = storage.read_text(f"{folder}/report.html")
    assert "Predicted, then trained" in page and "The least possible loss is 3.0000" in page and page.count("<svg") >= 3
    assert {"loss.json", "downstream.json", "residuals.json"} <= {p.name for p in (folder / "figures").iterdir()}
    assert len((folder / "points.csv").read_text().splitlines()) == 7
    for row in rows.values():
        run = folder / "points" / row["name"]
        assert {"recipe.json", "encoder", "metrics.jsonl", "result.json"} <= {p.name for p in run.iterdir()}


def test_losses_that_grow_with_the_size_give_a_law_without_advice():
    rows = [
        {
            "name": f"grid-n{n}-d{d}-s0", "setting": f"grid-n{n}-d{d}", "kind": "grid", "size": n, "data": d, "seed": 0,
            "held_out": False, "outcome": "trained", "N": n, "D": d, "C": 6.0 * n * d, "compute": 6.0 * n * d,
            "flops": 7.0 * n * d, "epochs": 1.0, "users": 9, "loss": 2 + 0.1 * n**0.2 + 50 / d**0.5, "ndcg@10": 0.1,
            "profile": {}, "max_len": 8, "batch_tokens": 64, "learning_rate": 1e-3, "seconds": 1.0,
        }
        for n in (1000, 3000, 10_000, 30_000) for d in (1000, 4000, 16_000, 64_000)
    ]  # fmt: skip
    told = summarise(ladder(), config(), StudyData(64_000, np.full(10, 8), 50), rows, None, [])
    assert told["law"]["optima"] == told["law"]["frontier"] == []
    assert any("no advice on budgets" in line for line in told["warnings"])
    html, figures = scaling_page("study", told | {"tuning": [], "utilisation": []})
    assert "no advice on budgets" in html and "frontier" not in figures and "loss" in figures
    assert "α is not told apart from 0" in printed(told)
