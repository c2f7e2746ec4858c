"""The page of a model of text: seen beside unseen, and the verdict that its figures give."""

import pytest

from ray_userrep.report.pages.text import printed, verdict


def figure(mean):
    return {"mean": mean, "low": mean, "high": mean}


def result_of(ndcg, rmse):
    prompts = {
        "sequential-1": {
            "kind": "item",
            "seen": True,
            "rows": 9,
            "metrics": {"hr@10": figure(0.3), "ndcg@10": figure(ndcg)},
        },
        "rating-4": {"kind": "rating", "seen": False, "rows": 9, "metrics": {"rmse": figure(rmse), "mae": figure(1.0)}},
        "review-1": {"kind": "text", "seen": True, "rows": 0, "metrics": {}},
    }
    simple = {"hr@10": figure(0.2), "ndcg@10": figure(0.1)}
    ratings = {"item mean": {"rmse": figure(1.0), "mae": figure(0.7)}}
    return {"prompts": prompts, "baselines": {"item": {"popularity": simple}, "rating": ratings}, "invalid": {}}


@pytest.mark.parametrize(
    ("ndcg", "rmse", "items", "ratings"),
    [
        (0.2, 1.2, "better than", "worse than"),
        (0.05, 0.9, "worse than", "better than"),
        (0.1, 1.0, "as good as", "as good as"),
    ],
)
def test_the_verdict_is_that_of_the_figures(ndcg, rmse, items, ratings):
    told = verdict(result_of(ndcg, rmse))
    assert (
        f"NDCG@10 of the best prompt (sequential-1) is {ndcg:.4f}, {items} the best without a model (popularity)"
        in told
    )
    assert f"RMSE of the best prompt (rating-4) is {rmse:.4f}, {ratings} the best without a model (item mean)" in told


def test_a_line_says_whether_its_prompt_was_trained_on():
    lines = printed(result_of(0.2, 1.2)).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["sequential-1", "seen"], ["popularity", "no"], ["rating-4", "unseen"], ["item", "mean"],
    ]  # fmt: skip
    nothing = {"prompts": {}, "baselines": {"item": {}, "rating": {}}, "invalid": {}}
    assert "beside the commonest one" in verdict(nothing)
