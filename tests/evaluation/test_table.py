"""The figures that are stored and printed, against the arrays they come from."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.evaluation.table import comparison, format_table, summary
from ray_userrep.recipe.evaluation import EvaluationConfig

CONFIG = EvaluationConfig(ks=(1, 5), num_bootstrap=200)


def test_a_summary_holds_every_metric_with_its_interval():
    ranks = np.random.default_rng(0).integers(1, 30, 200)
    figures = summary(ranks, CONFIG)
    assert set(figures) == {f"{name}@{k}" for name in ("hr", "ndcg", "mrr") for k in (1, 5, 10)}
    assert figures["hr@5"]["mean"] == pytest.approx((ranks <= 5).mean())
    assert all(f["low"] <= f["mean"] <= f["high"] for f in figures.values())
    assert json.loads(json.dumps(figures)) == figures == summary(ranks, CONFIG)


def test_a_comparison_is_ours_minus_theirs():
    rng = np.random.default_rng(0)
    theirs = rng.integers(1, 30, 300)
    ours = np.maximum(theirs - rng.integers(0, 3, 300), 1)
    figures = comparison(ours, theirs, CONFIG)
    assert figures["mean"] == pytest.approx((ndcg(ours, 10) - ndcg(theirs, 10)).mean())
    assert 0 < figures["low"] < figures["high"] and figures["p"] < 0.05
    assert comparison(theirs, ours, CONFIG)["mean"] == pytest.approx(-figures["mean"])


def test_the_table_is_aligned():
    figures = {"ndcg@10": {"mean": 0.1, "low": 0.05, "high": 0.15}, "hr@10": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    header, *rows = format_table({"popularity": figures, "ours": figures}, ["ndcg@10", "hr@10"]).splitlines()
    assert rows[1] == "ours        0.1000 [0.0500, 0.1500]  0.2000 [0.1000, 0.3000]"
    assert {line.index("0.2000") for line in rows} == {header.index("hr@10")}


@pytest.mark.parametrize("wrong", [{"ks": (0,)}, {"num_bootstrap": 1}, {"confidence": 1.0}, {"sampled": 100}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluationConfig.model_validate(wrong)


def test_a_user_with_several_targets_counts_once():
    ranks, users = np.array([1, 30, 2, 1, 50]), np.array([7, 7, 3, 7, 3])
    once = summary(ranks, EvaluationConfig(num_bootstrap=100), users)
    assert once["hr@10"]["mean"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert once["hr@10"]["low"] >= 1 / 2 and once["hr@10"]["high"] <= 2 / 3
    found = comparison(ranks, ranks[::-1], EvaluationConfig(num_bootstrap=100), users)
    assert found["mean"] == pytest.approx((1 / 3 - 1 / 2) / 2)  # one more hit of three, one less of two
