"""The sentence on what a vector adds says no more than the interval does."""

import pytest

from ray_userrep.report.pages.fusion import section, sentence, thin_users


def task(low, high, columns=("age",), headline="auc"):
    added = {"mean": (low + high) / 2, "low": low, "high": high, "p": 0.5}
    row = {headline: {"mean": 0.7, "low": 0.6, "high": 0.8}}
    at = {"metrics": {"own columns": row, "own columns and vector": row, "vector": row}, "over_columns": added}
    other = at | {"over_columns": {"mean": 9.0, "low": 9.0, "high": 9.0, "p": 1.0}}
    fusion = {"columns": list(columns), "shares": {"0.1": other, "1": at}}
    return {"headline": headline, "fusion": fusion, "users": {"without_history": 1234, "of_one": 2}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (task(0.012, 0.049), "The vector adds +0.030 [+0.012, +0.049] AUC to trees on the columns you have."),
        (
            task(-0.01, 0.03),
            "The vector is not shown to add to trees on the columns you have: +0.010 [-0.010, +0.030] AUC.",
        ),
        (
            task(-0.04, -0.02, (), "r2"),
            "The vector makes trees on when and how often users came worse: -0.030 [-0.040, -0.020] R².",
        ),
    ],
)
def test_the_sentence_is_that_of_the_interval_at_the_largest_share(given, said):
    assert sentence(given) == said
    body = section("gender", given).body
    assert said in body and "0.700 [0.600, 0.800]" in body and "+9.000 [+9.000, +9.000], p 1.000" in body


def test_thin_users_are_told_in_one_line():
    assert thin_users(task(0, 1)) == (
        "Users without any history: 1,234, left out. Users with a history of one interaction: 2."
    )
