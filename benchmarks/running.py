"""Benchmarks that are jobs of the project: run as anyone would run them, and what is kept of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ray_userrep import storage

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


def job(name: str, *options: str) -> None:
    """One of the project's jobs, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, ROOT / "jobs" / f"{name}.py", *options], check=True, env=environment)


def keep(name: str, run_uri: str, more: dict[str, Any]) -> dict[str, Any]:
    """A run's page and numbers, with more of these, under results; returns the numbers."""
    RESULTS.mkdir(exist_ok=True)
    result: dict[str, Any] = storage.read_json(storage.join(run_uri, "result.json")) | more
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{name}.html").write_text(storage.read_text(storage.join(run_uri, "report.html")))
    return result
