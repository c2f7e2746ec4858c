"""Several runs as one table."""

import pandas as pd
import pytest

import ray_userrep as ur
from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.stored import store_result
from ray_userrep.workflows.runs import run_runs, runs_table


def store(place: str, metric: float, **fields: object) -> None:
    recipe = ur.recipe("sasrec", run=place, **fields)
    metrics = {"ndcg@10": {"mean": metric, "low": metric - 0.1, "high": metric + 0.1}}
    universality = {"future": {"metrics": {"encoder": {"r2": {"mean": metric / 2}}, "mean": {"r2": {"mean": 0.0}}}}}
    result = {"job": "pretrain", "recipe": recipe.model_dump(mode="json"), "metrics": metrics}
    storage.write_json(f"{place}/result.json", result | {"universality": universality})


def test_a_row_a_run_with_the_fields_that_differ_and_the_figures(tmp_path, capsys):
    store(f"{tmp_path}/small", 0.125, **{"encoder.width": 32})
    store(f"{tmp_path}/deeper/large", 0.25, **{"encoder.width": 64, "evaluation.ks": (5,)})
    arms = {"scratch": {"auc": {"mean": 0.5}}, "full": {"auc": {"mean": 0.75}}, "trees": {"auc": {"mean": 0.9}}}
    share = {"metrics": arms, "cost": {"scratch": {}, "full": {}}}
    task = {"headline": "auc", "smaller_is_better": [], "shares": {"0.1": share | {"metrics": {}}, "1.0": share}}
    transfer = {"job": "transfer", "recipe": ur.recipe("sasrec").model_dump(mode="json"), "tasks": {"gender": task}}
    error = {"headline": "auc", "smaller_is_better": ["auc"], "shares": task["shares"]}
    transfer["tasks"]["error"] = error
    storage.write_json(f"{tmp_path}/adapted/result.json", transfer)
    table = run_runs(str(tmp_path))
    assert "0.2500" in capsys.readouterr().out
    assert list(table.columns) == ["job", "encoder.width", "evaluation.ks", "gender auc", "error auc", "ndcg@10",
                                   "future r2"]  # fmt: skip
    assert table.loc["small", ["encoder.width", "ndcg@10", "future r2"]].tolist() == [32, 0.125, 0.0625]
    assert table.loc["deeper/large", "evaluation.ks"] == "[5]"
    assert table.loc["adapted", "gender auc"] == 0.75 and table.loc["adapted", "error auc"] == 0.5
    pd.testing.assert_frame_equal(ur.runs(str(tmp_path)), table)


def test_a_folder_without_runs_is_refused(tmp_path):
    storage.write_json(f"{tmp_path}/a.json", {})
    with pytest.raises(UserError, match="holds no run that has ended"):
        runs_table(str(tmp_path))


def test_a_result_that_is_gone_is_told_of(tmp_path):
    for name in ("one", "two"):
        store_result(f"{tmp_path}/{name}", {"job": "pretrain", "recipe": {"seed": 1}, "metrics": {}})
    assert len(runs_table(str(tmp_path))) == 2
    (tmp_path / "two/result.json").unlink()
    with pytest.raises(UserError, match=r"two is no run that has ended: it has no result\.json"):
        runs_table(str(tmp_path))
