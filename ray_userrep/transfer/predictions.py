"""What the best head of a task says of every row that has a label, and how far it may be believed.

Temperatures are chosen on validation; test rows are scored with them and judge them. Training rows are scored as well,
for whoever wants to look at them: what a head says of what it was trained on is better than what it will say of others.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.transfer.calibration import calibration_figures, fit_temperatures, tempered
from ray_userrep.transfer.labels import UserLabels
from ray_userrep.transfer.model import LabelModel, save_model
from ray_userrep.transfer.tasks.attribute import AttributeTask
from ray_userrep.transfer.tasks.base import Part

_FOLDER = "predictions"
_SPLITS: dict[Part, str] = {"train": "train", "valid": "validation", "test": "test"}


def keep_head(
    task: AttributeTask,
    encoder: UserEncoder,
    objective: UserLabels,
    made_of: dict[str, Any],
    model_uri: str,
    run_uri: str,
) -> dict[str, Any]:
    """Write a task's model beside its encoder, and `<run>/predictions/<task>.parquet`; returns what is known of them.

    `encoder` is the one that was written. A head that reads more than the vector is none that others can use, and is
    not written. Values have no probabilities, and no `calibration`.
    """
    scores = {part: task.predict(encoder, objective, part) for part in _SPLITS}
    temperatures_T = fit_temperatures(task.kind, task.truth("valid"), scores["valid"])
    model = LabelModel(objective.head, task.classes, temperatures_T)
    calibrated = {part: tempered(task.kind, found, temperatures_T) for part, found in scores.items()}
    if not task.reads_columns:
        save_model(model, made_of, model_uri)
    uri = storage.join(run_uri, _FOLDER, f"{task.name.replace(' ', '_')}.parquet")
    tables = [_rows(task, model, part, found) for part, found in calibrated.items()]
    storage.write_parquet(uri, pa.concat_tables(tables))
    figures: dict[str, Any] | None = None
    if task.kind != "value":
        figures = calibration_figures(task.kind, task.truth("test"), scores["test"], calibrated["test"])
        figures |= {"temperatures": temperatures_T.tolist(), "classes": task.classes}
    uses = None if task.reads_columns else model_uri
    return {"model": uses, "predictions": uri, "calibration": figures}


def _rows(task: AttributeTask, model: LabelModel, part: Part, scores: NDArray[np.float64]) -> pa.Table:
    known = task.known_of(part)
    columns = {
        "split": pa.array([_SPLITS[part]] * known.num_rows, pa.string()),
        "label": _in_words(task, task.truth(part)),
        "score": model.column(scores),
    }
    return pa.table({name: known[name] for name in known.column_names} | columns)


def _in_words(task: AttributeTask, labels_U: NDArray[np.float64]) -> pa.Array:
    """Labels as whoever gave them called them."""
    if task.kind == "value":
        return pa.array(labels_U)
    names = np.array(task.classes, object)
    if task.kind == "classes":
        return pa.array(names[labels_U.astype(int)], pa.string())
    return pa.array([names[has_C > 0].tolist() for has_C in labels_U], pa.list_(pa.string()))
