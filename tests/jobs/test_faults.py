"""Every fault of `benchmarks/faults.py` by real jobs: what is trained in the end is what an undisturbed run trains."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
faults: Any = importlib.import_module("faults")
sys.path.remove(str(BENCHMARKS))

MOUNTS = ("disk_full_at_checkpoint", "disk_full_at_preparation", "read_only_run")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    lab = faults.Lab(tmp_path_factory.mktemp("faults"))
    yield lab
    lab.close()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.__name__)
def test_what_is_trained_in_the_end_is_what_an_undisturbed_run_trains(lab: Any, fault: Any) -> None:
    if fault.__name__ in MOUNTS and os.geteuid():
        pytest.skip("mounting a disk takes root")
    row = faults.measured(lab, fault, seed=0)
    assert row["holds"], row
