"""Benchmarks that are jobs of the project: run as anyone would run them, and what is kept of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray_userrep import storage
from ray_userrep.cli import main

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
IMAGES = ROOT / "docs" / "images"


def job(name: str, *options: str) -> None:
    """One of the project's jobs, in this process: a study of many short ones starts Ray and imports once."""
    main([name, *options])


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
