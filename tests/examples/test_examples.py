"""The worked examples run, from anywhere, and what they show is there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as Python does for a file that it is told to run

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_a_shop_s_log_gives_vectors_and_a_label_beside_rfm(ray_session, example, tmp_path, capsys):
    found = example("own_log").main(str(tmp_path), customers=150, epochs=1)
    assert set(found) == {"RFM", "vector", "both"} and all(0 < auc < 1 for auc in found.values())
    assert "both over RFM" in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "vectors")["user_id"].is_unique


def test_rfm_is_what_is_counted_by_hand(example):
    times = pd.to_datetime(["2011-08-30 09:00", "2011-08-30 17:00", "2011-08-01 12:00"])
    log = pd.DataFrame({"customer": [7, 7, 9], "product": list("abc"), "bought": times, "paid": [1.5, 2.0, 4.0]})
    assert example("own_log").rfm(log).to_dict("index") == {
        7: {"recency": 1, "frequency": 1, "money": 3.5}, 9: {"recency": 30, "frequency": 1, "money": 4.0},
    }  # fmt: skip


@pytest.mark.system
def test_a_new_day_has_new_customers_and_products(ray_session, example, tmp_path):
    found = example("new_day").main(str(tmp_path), customers=400, epochs=1)
    assert found["new customers"] > 0 and found["new products"] > 0
    assert found["histories read again"] == 0, "December comes after November"


@pytest.mark.slow
def test_two_systems_are_compared_outside_the_checkout(tmp_path):
    script = EXAMPLES / "own_system.py"
    command = [sys.executable, str(script), str(tmp_path / "runs"), "1", "16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = r"system +ndcg@10 +over the first +verdict\n +sasrec .*the first\n *next_and_later .*\]"
    assert re.search(told, done.stdout)
    assert (tmp_path / "runs" / "next_and_later.json").is_file()
