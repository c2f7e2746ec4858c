"""A model of 100M backbone parameters, built partitioned on two real workers."""

import importlib
from pathlib import Path

import pytest

from ray_userrep.distributed import zero

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_building_partitioned_takes_little_more_than_a_rank_s_share(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name, value in zero.INIT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    benchmark = importlib.import_module("zero_init")
    whole, partitioned = benchmark.measure(init=False), benchmark.measure(init=True)
    assert partitioned["parameters"] == whole["parameters"] > 100e6
    assert partitioned["peak_bytes"] <= 0.65 * whole["peak_bytes"]
    assert partitioned["equal"], "the exported weights are those of a model that was built whole"
