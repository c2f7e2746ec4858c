"""Vectors as of twelve month ends in one pass, beside twelve runs of `embed`.

    python benchmarks/as_of.py [--recipe online_retail]

Both are whole processes, one after the other, with an encoder that was trained for a few steps: how long it takes does
not depend on what it learned. Every vector of the one pass is compared with that of the run of its day. The result goes
to benchmarks/results/as_of.json.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from running import RESULTS, job

from ray_userrep.training.runs import environment

DAYS = [f"{day:%Y-%m-%d}" for day in pd.date_range("2011-01-01", periods=12, freq="MS")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="online_retail")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = ["--train.max_steps", "20", "--evaluation.baselines", "false"]
        place = ["--recipe", options.recipe, "--corpus", str(folder / "corpus")]
        job("pretrain", *place, *few, "--run", str(folder / "run"))
        together = seconds(place, folder, DAYS)
        apart = {day: seconds(place, folder, [day]) for day in DAYS}
        whole = pd.read_parquet(folder / named(DAYS))
        difference = max(largest_difference(whole, day, pd.read_parquet(folder / named([day]))) for day in DAYS)
    report = {
        "environment": environment(),
        "options": vars(options),
        "load": load,
        "vectors": len(whole),
        "one_pass_seconds": together,
        "twelve_runs_seconds": sum(apart.values()),
        "largest_difference": difference,
    }
    (RESULTS / "as_of.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def seconds(place: list[str], folder: Path, days: list[str]) -> float:
    """How long it takes to write the vectors as of some days."""
    began = time.perf_counter()
    until = ["--embedding.until", json.dumps(days)]
    job("embed", *place, "--encoder", str(folder / "run"), "--output", str(folder / named(days)), *until)
    return time.perf_counter() - began


def named(days: list[str]) -> str:
    return f"vectors-{days[0]}-{len(days)}"


def largest_difference(whole: pd.DataFrame, day: str, alone: pd.DataFrame) -> float:
    """Between the vectors of one day; the users have to be the same."""
    rows = whole[pd.to_datetime(whole["until"]).dt.strftime("%Y-%m-%d") == day].set_index("user_id")
    assert sorted(rows.index) == sorted(alone["user_id"])
    mine_UF = np.stack(rows.loc[alone["user_id"], "vector"].to_numpy())
    return float(np.abs(mine_UF - np.stack(alone["vector"].to_numpy())).max())


if __name__ == "__main__":
    main()
