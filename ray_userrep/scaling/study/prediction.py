"""Prediction before proof: the losses of the held-out runs are written down before these may be trained.

The file is created once and never written again; a run that is held out refuses to start without its own entry in it.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.scaling.law.law import RunSize, study_law
from ray_userrep.scaling.study.rows import Row, law_points

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
