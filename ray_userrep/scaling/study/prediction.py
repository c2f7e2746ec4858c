"""The law of a study put to the test: by runs held out and predicted before they are trained, and by a known floor.

The predictions are a file that is created once and never written again; a run that is held out refuses to start without
its own entry in it.

The least loss possible is known on a synthetic log: does the fitted E hold it? Where it does not, the law is fitted
again without the smallest sizes: a backbone too small for what there is to learn is not on one law with the others, and
bends it. What stands in the report as the law stays the one of all runs; these further fits are made with the answer
known and say why it was missed, no more.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.scaling.law.law import RunSize, study_law
from ray_userrep.scaling.study.point import Row, law_points

FILE = "prediction.json"


def register(folder: str, rows: Sequence[Row], places: Mapping[str, RunSize]) -> dict[str, Any]:
    """Predict the held-out settings from the runs that are there, unless that was done before; returns what stands.

    `places` are the N and D of each held-out setting. Where the runs allow no law, that is what is written.
    """
    uri = storage.join(folder, FILE)
    if not registered(folder):
        told = {"date": datetime.now(UTC).isoformat(timespec="seconds")} | _predicted(rows, places)
        storage.create_exclusive(uri, json.dumps(told, indent=1).encode())
    standing: dict[str, Any] = storage.read_json(uri)
    return standing


def registered(folder: str) -> bool:
    """Whether a prediction stands."""
    return storage.exists(storage.join(folder, FILE))


def refuse_unregistered(folder: str, setting: str) -> None:
    """Refuse to train what has not been predicted.

    Raises:
        UserError: there is no prediction, or it is of other settings.
    """
    uri = storage.join(folder, FILE)
    if not storage.exists(uri):
        raise UserError(f"{setting} is held out: it is trained only after its loss was predicted in {uri}")
    known = storage.read_json(uri)["settings"]
    if setting not in known:
        raise UserError(f"{setting} is held out, but {uri} predicts {', '.join(known)}: name another folder with --run")


def _predicted(rows: Sequence[Row], places: Mapping[str, RunSize]) -> dict[str, Any]:
    told: dict[str, Any] = {"settings": list(places), "law": None, "predictions": []}
    try:
        studied = study_law(law_points(rows), list(places.values()))
    except UserError as error:
        return told | {"no_law": str(error)}
    settings = itertools.cycle(places)  # of each form in turn
    predictions = [{"setting": next(settings)} | one for one in studied["predictions"]]
    kept = {name: studied[name] for name in ("law", "preferred", "warnings")}
    return told | kept | {"predictions": predictions}


_MOST_LEFT_OUT = 2


def beside_floor(rows: Sequence[Row], law: dict[str, Any] | None, nats: float) -> dict[str, Any]:
    """E of the study's law and of fits without the smallest sizes; whether its interval holds the floor."""
    sizes = sorted({row["size"] for row in rows})
    laws = [] if law is None else [_held([], law, nats)]
    for number in range(1, min(_MOST_LEFT_OUT, len(sizes) - 1) + 1) if laws else ():
        left_out = sizes[:number]
        try:
            told = study_law(law_points([row for row in rows if row["size"] not in left_out]))
        except UserError:  # too few runs are left
            break
        laws.append(_held(left_out, told, nats))
    return {"nats": nats, "laws": laws, "verdict": _verdict(nats, laws)}


def _held(left_out: Sequence[int], told: dict[str, Any], nats: float) -> dict[str, Any]:
    floor = told["law"]["constants"].get("E")
    known = floor is not None and None not in (floor["low"], floor["high"])
    inside = bool(known and floor["low"] <= nats <= floor["high"])
    count, form = told["points"]["count"], told["preferred"]
    return {"left_out": left_out, "runs": count, "E": floor, "inside": inside, "preferred": form}


def _verdict(nats: float, laws: Sequence[dict[str, Any]]) -> str:
    told = f"The least possible loss is {nats:.4f} nats."
    if not laws:
        return f"{told} The runs allow no law."
    if laws[0]["inside"]:
        return f"{told} The interval of the law's E holds it."
    missed = f"{told} The interval of the law's E does not hold it"
    for other in laws[1:]:
        if other["inside"]:
            sizes = " and ".join(f"{size:,}" for size in other["left_out"])
            return (
                f"{missed}; without size {sizes} it does: so small a backbone seems not to be on one law with the rest "
                "(a fit that was made with the answer known)."
            )
    return f"{missed}, nor does it without the smallest sizes."
