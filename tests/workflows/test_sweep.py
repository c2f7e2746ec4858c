"""Runs of a grid side by side: simple methods tuned once, what has ended kept, all compared."""

import json

import pandas as pd
import pytest

import ray_userrep as ur
from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.sweep import SweepConfig
from ray_userrep.workflows.sweep import run_sweep, sweep_points
from tests.training.conftest import small_recipe, write_corpus

RATES = {"train.learning_rate": [0.01, 0.02]}


def test_a_sweep_trains_what_is_missing_and_compares(ray_session, tmp_path, capsys):
    corpus, folder = write_corpus(f"{tmp_path}/corpus"), f"{tmp_path}/run"
    recipe = small_recipe(**{
        "corpus.uri": corpus.uri, "run": folder, "train.epochs": 1.0, "evaluation.num_bootstrap": 100,
    })  # fmt: skip
    first = run_sweep(recipe, SweepConfig(seeds=(0,), grid={"train.learning_rate": [0.01]}))
    assert first["table"][0]["system"] == "small" and len(first["table"]) == 2
    made = storage.read_bytes(f"{folder}/train.learning_rate=0.01/seed-0/result.json")
    tuned = storage.read_object(f"{folder}/baselines.json")
    tuned["figures"]["popularity"]["ndcg@10"]["mean"] = 0.125
    storage.write_json(f"{folder}/baselines.json", tuned)
    second = run_sweep(recipe, SweepConfig(seeds=(0, 1), grid=RATES))
    assert "run 4/4" in capsys.readouterr().out
    assert storage.read_bytes(f"{folder}/train.learning_rate=0.01/seed-0/result.json") == made
    other = ur.load_result(f"{folder}/train.learning_rate=0.02/seed-1")
    assert other["baselines"]["popularity"]["ndcg@10"]["mean"] == 0.125  # as it was told
    assert [row["seeds"] for row in second["table"]] == [2, 2, 1]
    assert second["table"][1]["system"] == "small (learning_rate 0.02)"
    assert pd.read_csv(f"{folder}/compare.csv")["system"].tolist() == [row["system"] for row in second["table"]]
    with pytest.raises(UserError, match=r"was trained with another train\.epochs: name another folder"):
        run_sweep(with_values(recipe, {"train.epochs": 9.0}), SweepConfig(grid=RATES))


def test_a_run_that_fails_leaves_the_others_compared(ray_session, tmp_path, capsys):
    corpus = write_corpus(f"{tmp_path}/corpus")
    recipe = small_recipe(**{
        "corpus.uri": corpus.uri, "run": f"{tmp_path}/run", "train.epochs": 1.0, "evaluation.num_bootstrap": 100,
    })  # fmt: skip
    grid = {"train.learning_rate": [0.01, 1e30]}
    with pytest.raises(
        UserError, match=r"1 of 2 runs failed, the first is train\.learning_rate=1e\+30/seed-0: the loss was"
    ):
        run_sweep(recipe, SweepConfig(seeds=(0,), grid=grid))
    assert len(pd.read_csv(f"{tmp_path}/run/compare.csv")) == 2


def test_points_are_all_combinations_in_folders_that_tell_them():
    grid = RATES | {"encoder.backbone.kind": ["gru", "mean"]}
    points = sweep_points(ur.recipe("sasrec"), SweepConfig(seeds=(1, 5), grid=grid), "f")
    assert len(points) == 8 and len({point.uri for point in points}) == 8
    assert points[0].uri == "f/encoder.backbone.kind=gru,train.learning_rate=0.01/seed-1"
    recipe = points[-1].recipe
    assert (recipe.seed, recipe.encoder.backbone.kind, recipe.train.learning_rate, recipe.run) == (
        5, "mean", 0.02, points[-1].uri)  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"train.lr": [1]}, "unknown field train.lr"),
        ({"train.learning_rate": [0.1, "fast"]}, r"train\.learning_rate: takes a number"),
        ({"split.rule": ["user"]}, "grid: split.rule has to be the same"),
        ({"corpus": ["a"]}, "grid: corpus.uri has to be the same"),
        ({"train.num_workers": [2]}, "sweep trains each run on one worker"),
        ({"train.epochs": [1, 1]}, "two of its values would both be in the folder train.epochs=1/seed-0"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_any_work(grid, told):
    with pytest.raises(UserError, match=told):
        sweep_points(ur.recipe("sasrec"), SweepConfig(grid=grid), "f")


def test_from_the_command_line():
    from ray_userrep.command import read
    from ray_userrep.jobs import JOBS, job_named

    words = ["--recipe", "sasrec", "--seeds", "0,2", "--grid", json.dumps(RATES)]
    given = read(job_named("sweep"), words, JOBS).config_as(SweepConfig)
    assert (given.seeds, given.grid) == ((0, 2), RATES)
    assert read(job_named("sweep"), ["--seeds", "7"], JOBS).config_as(SweepConfig).seeds == (7,)
    for seeds, told in (("1,1", "seeds names one twice"), ("a", "seeds.*takes a list of integers")):
        with pytest.raises(UserError, match=told):
            read(job_named("sweep"), ["--seeds", seeds], JOBS)
    with pytest.raises(UserError, match="grid: seed2 has no values"):
        read(job_named("sweep"), ["--grid", '{"seed2": []}'], JOBS)
