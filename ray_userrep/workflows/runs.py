"""Several runs side by side: the fields in which their recipes differ, and their figures."""

from typing import Any

import pandas as pd

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.report.results import RESULT, Result, as_stored, load_result
from ray_userrep.training.runs import differences

_NAMES = ("run", "name", "logs.uri", "corpus.uri")  # what every run has of its own, and says nothing of it


def run_runs(folder: str) -> pd.DataFrame:
    """Print the table of a folder's runs; returns it."""
    table = runs_table(folder)
    print(table.to_string(float_format=lambda value: f"{value:.4f}", na_rep=""))
    return table


def runs_table(folder: str) -> pd.DataFrame:
    """A row for each run below a folder, by its name there: job, fields that differ, figures.

    Fields are those of the recipes in which any two runs differ; figures are means, those of a transfer its best arm's
    with the most labels.

    Raises:
        UserError: there is no run below the folder, or what is stored of one is not what a job wrote.
    """
    found = _results(storage.absolute(folder))
    if not found:
        raise UserError(f"{folder} holds no run that has ended: none of its folders has a {RESULT}")
    recipes = [result["recipe"] for result in found.values()]
    fields = sorted({name for one in recipes for name in differences(recipes[0], one)} - {*_NAMES})
    rows = {name: _row(storage.join(folder, name), result, fields) for name, result in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def _results(folder: str) -> dict[str, Result]:
    """The results below a folder that have a recipe, by their place in it; one that is gone is told of."""
    files = {entry.uri for entry in storage.list_files(folder, ".json")}
    ended = {uri for uri in files if uri.endswith(f"/{storage.CHECKSUMS}") and RESULT in storage.read_object(uri)}
    places = sorted({uri.rsplit("/", 1)[0] for uri in ended | {uri for uri in files if uri.endswith(f"/{RESULT}")}})
    found = {place.removeprefix(folder).strip("/") or ".": load_result(place) for place in places}
    return {name: result for name, result in found.items() if isinstance(result.get("recipe"), dict)}


def _row(place: str, result: Result, fields: list[str]) -> dict[str, Any]:
    with as_stored(place):
        named = {field: _field(result["recipe"], field) for field in fields}
        return {"job": result["job"]} | named | _figures(result)


def _field(recipe: dict[str, Any], path: str) -> Any:
    """A field's value; what has no place in a table is its text."""
    value: Any = recipe
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _figures(result: Result) -> dict[str, float]:
    """The means of a result's figures, by name."""
    if result["job"] == "transfer":
        return {f"{name} {task['headline']}": _best(task) for name, task in result["tasks"].items()}
    metrics = result.get("metrics", {})
    told = {f"{name} r2": part["metrics"]["encoder"]["r2"] for name, part in result.get("universality", {}).items()}
    all_of = (metrics | told).items()
    return {name: metric["mean"] for name, metric in all_of if isinstance(metric, dict) and "mean" in metric}


def _best(task: dict[str, Any]) -> float:
    most = task["shares"][max(task["shares"], key=float)]
    best = min if task["headline"] in task["smaller_is_better"] else max
    return float(best(most["metrics"][arm][task["headline"]]["mean"] for arm in most["cost"]))
