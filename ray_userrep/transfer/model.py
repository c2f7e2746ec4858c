"""What a transfer leaves behind to score users with: an encoder, a head on its vectors, and temperatures.

    <run>/models/<task>/encoder/            as any other encoder
    <run>/models/<task>/head.safetensors
    <run>/models/<task>/head.json           what the head puts out, what of, and its temperatures
    <run>/models/<task>/checksums.json      of both, written last

The head names the encoder that it was trained on, with its readout: beside another one it would score without a word.

Shapes: U users, F numbers of a vector, C classes or labels.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from ray_userrep import storage
from ray_userrep.encoder.folder import identity
from ray_userrep.errors import UserError
from ray_userrep.objectives.head import Head
from ray_userrep.transfer.calibration import tempered

ENCODER = "encoder"
_WEIGHTS, _CONFIG = "head.safetensors", "head.json"


@dataclass(frozen=True)
class LabelModel:
    """A head, the classes or labels that it tells apart, and the temperatures of its probabilities."""

    head: Head
    classes: list[str]
    temperatures_T: NDArray[np.float64]

    def raw_scores(self, vectors_UF: NDArray[np.floating]) -> NDArray[np.float64]:
        """What the head says of users' vectors: probabilities, `[U, C]`, or values, `[U]`."""
        found: NDArray[np.float64] = self.head.scores(torch.from_numpy(vectors_UF)).cpu().numpy().astype(np.float64)
        return found

    def scores(self, vectors_UF: NDArray[np.floating]) -> NDArray[np.float64]:
        """The same at the model's temperatures."""
        return tempered(self.head.kind, self.raw_scores(vectors_UF), self.temperatures_T)

    def column(self, scores: NDArray[np.float64]) -> pa.Array:
        """Scores as they are written: one of two classes is that of the second, else a list in the classes' order."""
        if self.head.kind == "value":
            return pa.array(scores)
        if self.head.kind == "classes" and len(self.classes) == 2:
            return pa.array(scores[:, 1])
        return pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), len(self.classes))


def save_model(model: LabelModel, made_of: dict[str, Any], model_uri: str) -> None:
    """Write a model's head beside the encoder that is in its folder; `made_of` says by what it was made."""
    head = model.head
    config = made_of | {
        "kind": head.kind,
        "num_inputs": head.num_inputs,
        "hidden": head.hidden,
        "num_outputs": head.num_outputs,
        "centre": head.centre,
        "scale": head.scale,
        "classes": model.classes,
        "temperatures": model.temperatures_T.tolist(),
        "encoder": identity(storage.join(model_uri, ENCODER)),
    }
    files = {
        _WEIGHTS: save({name: value.cpu().contiguous() for name, value in head.state_dict().items()}),
        _CONFIG: json.dumps(config, indent=1, ensure_ascii=False).encode(),
    }
    for name, data in files.items():
        storage.write_bytes(storage.join(model_uri, name), data)
    storage.write_checksums(model_uri, files)


def load_model(model_uri: str) -> LabelModel:
    """The model in a folder; its encoder is read by whoever needs it.

    Raises:
        UserError: there is none, it was changed after it was written, or another encoder is beside it.
    """
    if not storage.exists(storage.join(model_uri, storage.CHECKSUMS)):
        raise UserError(f"no model at {model_uri}: name the folder models/TASK of a run of transfer over labels")
    if (name := storage.changed(model_uri, (_WEIGHTS, _CONFIG))) is not None:
        place = storage.join(model_uri, name)
        raise UserError(f"{place} is missing or was changed after it was written: copy the model again")
    config = storage.read_object(storage.join(model_uri, _CONFIG))
    if identity(storage.join(model_uri, ENCODER)) != config["encoder"]:
        raise UserError(f"the model at {model_uri} is not whole: the encoder of its head is missing or was changed")
    head = Head(*(config[name] for name in ("kind", "num_inputs", "hidden", "num_outputs", "centre", "scale")))
    head.load_state_dict(load(storage.read_bytes(storage.join(model_uri, _WEIGHTS))))
    return LabelModel(head.eval(), config["classes"], np.array(config["temperatures"]))
