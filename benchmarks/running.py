"""Benchmarks that are jobs of the project: run as anyone would run them, and what is kept of them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray_userrep import storage

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
IMAGES = ROOT / "docs" / "images"


def job(name: str, *options: str) -> None:
    """One of the project's jobs, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, ROOT / "jobs" / f"{name}.py", *options], check=True, env=environment)


def keep(name: str, run_uri: str, more: dict[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """A run's numbers, with more of these, under results; returns them. Its page stays with the run.

    `places` are folders of this machine, and what they are called in what is kept.
    """
    RESULTS.mkdir(exist_ok=True)
    result: dict[str, Any] = storage.read_json(storage.join(run_uri, "result.json")) | more
    text = json.dumps(result, indent=1) + "\n"
    for place, called in places.items():
        text = text.replace(storage.absolute(place), called)
    (RESULTS / f"{name}.json").write_text(text)
    return result
