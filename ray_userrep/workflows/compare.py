"""Which of several runs ranks better, user by user, beside the best simple method of the first.

Users are the unit, and seeds where every system has as many; otherwise each user's figures are averaged over seeds, so
that intervals hold for other users, not for other seeds.

NDCG@10 stands beside it for the head, the torso and the tail of the catalogue, over the users with a target there.

Shapes: U users.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.evaluation.kept import Ranks, read_ranks
from ray_userrep.evaluation.metrics import Figures, mean_of, ndcg, user_means
from ray_userrep.evaluation.slices import SLICES
from ray_userrep.evaluation.statistics import HEADLINE, Difference, Interval, estimate, paired
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.training.runs import differences

_OWN = ("run", "name", "seed", "train.num_workers")  # in which runs of one system may differ
_NUM_RESAMPLES, _CONFIDENCE = 1000, 0.95
_ALL = "all"
_mean = mean_of(lambda _, values_U: values_U)


class System(NamedTuple):
    """Runs that differ in nothing but the seed, and what their users have of NDCG@10 by slice of items, `[U]` a run."""

    name: str
    figures: dict[str, list[Figures]]


def run_compare(places: Sequence[str]) -> pd.DataFrame:
    """Print the table of a comparison; returns it."""
    table = compare_table(places)
    print(table.to_string(index=False))
    return table


def compare_table(places: Sequence[str]) -> pd.DataFrame:
    """A row for each system: NDCG@10 with its interval, the paired difference to the first, p, a verdict, and slices.

    Raises:
        UserError: a place holds no run with ranks; runs were measured on other users or items.
    """
    folders = list(dict.fromkeys(folder for place in places for folder in _runs(place)))
    results = {folder: load_result(folder) for folder in folders}
    first, *others = folders
    ranks = {folder: read_ranks(folder) for folder in folders}
    for folder in others:
        _refuse_others(first, folder, results, ranks)
    systems = [*_systems(results, ranks), *_simple(ranks[first])]
    return pd.DataFrame([_row(system, systems[0]) for system in systems])


def _runs(place: str) -> Iterator[str]:
    """A run's folder, or those of the runs below one."""
    folder = storage.absolute(place)
    if storage.exists(storage.join(folder, RESULT)):
        yield folder
        return
    found = storage.list_files(folder, f"/{RESULT}") if storage.exists(folder) else []
    if not found:
        raise UserError(f"{place} holds no run that has ended: there is no {RESULT}")
    yield from (entry.uri.removesuffix(f"/{RESULT}") for entry in found)


def _refuse_others(first: str, folder: str, results: dict[str, Result], ranks: dict[str, Ranks]) -> None:
    same_split = results[first].get("split_fingerprint") == results[folder].get("split_fingerprint")
    same = [np.array_equal(a, b) for a, b in zip(ranks[first][:2], ranks[folder][:2], strict=True)]
    if not (same_split and all(same)):
        raise UserError(
            f"{folder} was measured on other users or items than {first}: compare runs of one corpus and one split"
        )


def _systems(results: dict[str, Result], ranks: dict[str, Ranks]) -> list[System]:
    """Runs in their order, those of one recipe together; where names are alike, with the fields that differ."""
    groups: list[list[str]] = []
    for folder in results:
        same = (g for g in groups if not _differing(results[g[0]], results[folder]))
        group = next(same, None)
        if group is None:
            groups.append([folder])
        else:
            group.append(folder)
    names = {results[group[0]]["recipe"]["name"] for group in groups}
    told = {name for group in groups for name in _differing(results[groups[0][0]], results[group[0]])}
    fields = sorted(told) if len(names) < len(groups) else []
    return [
        System(_name(results[g[0]], fields), _figures(ranks[g[0]], [ranks[f].by_system["encoder"] for f in g]))
        for g in groups
    ]


def _differing(a: Result, b: Result) -> list[str]:
    return [name for name in differences(a["recipe"], b["recipe"]) if name not in _OWN]


def _name(result: Result, fields: Sequence[str]) -> str:
    """The recipe's name and its values of the fields that tell the systems apart, as many as a line holds."""
    recipe = result["recipe"]
    told = ", ".join(f"{field.rsplit('.', 1)[-1]} {_value(recipe, field)}" for field in fields[:3])
    return recipe["name"] + (f" ({told})" if told else "")


def _value(recipe: dict[str, Any], path: str) -> Any:
    value: Any = recipe
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _simple(ranks: Ranks) -> list[System]:
    return [System(name, _figures(ranks, [r])) for name, r in ranks.by_system.items() if name != "encoder"]


def _figures(ranks: Ranks, ranks_SW: Sequence[NDArray[np.int64]]) -> dict[str, list[Figures]]:
    """NDCG@10 of each user, of all targets and of those in each slice that has any."""
    places = {_ALL: np.arange(len(ranks.users_W))}
    places |= {name: np.flatnonzero(ranks.slices_W == number) for number, name in enumerate(SLICES)}
    return {
        name: [user_means(ndcg(ranks_W[here], 10), ranks.users_W[here]) for ranks_W in ranks_SW]
        for name, here in places.items()
        if len(here)
    }


def _row(system: System, first: System) -> dict[str, Any]:
    own = _estimated(system.figures[_ALL])
    row: dict[str, Any] = {"system": system.name, "seeds": len(system.figures[_ALL])}
    row[HEADLINE] = f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]"
    if system is first:
        row |= {"over the first": "", "p": "", "verdict": "the first"}
        return row | {name: f"{_estimated(found).mean:.4f}" for name, found in system.figures.items() if name != _ALL}
    over = {name: _over(system.figures[name], first.figures[name]) for name in first.figures}
    row |= {"over the first": _told(over[_ALL]), "p": f"{over[_ALL].p:.3f}", "verdict": verdict(over[_ALL])}
    slices = [name for name in over if name != _ALL]
    return row | {name: f"{_estimated(system.figures[name]).mean:.4f} ({_told(over[name])})" for name in slices}


def _estimated(figures: list[Figures]) -> Interval:
    return estimate(_mean, np.zeros(len(figures[0])), figures, _NUM_RESAMPLES, _CONFIDENCE)


def _over(a: list[Figures], b: list[Figures]) -> Difference:
    return paired(_mean, np.zeros(len(a[0])), *_alike(a, b), _NUM_RESAMPLES, _CONFIDENCE)


def _told(over: Difference) -> str:
    return f"{over.mean:+.4f} [{over.low:+.4f}, {over.high:+.4f}]"


def _alike(a: list[Figures], b: list[Figures]) -> tuple[list[Figures], list[Figures]]:
    """As many of both: seeds one by one, or users' means over them."""
    if len(a) == len(b):
        return a, b
    return [np.mean(a, axis=0)], [np.mean(b, axis=0)]


def verdict(over: Difference) -> str:
    """What a difference says in words."""
    if over.low > 0:
        return "better"
    return "worse" if over.high < 0 else "no difference shown"
