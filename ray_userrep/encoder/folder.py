"""The folder of an encoder: what is in it, and how new files take the place of old ones."""

import hashlib
import json
import os
from pathlib import Path

from ray_userrep import storage
from ray_userrep.errors import UserError

MODEL_TYPE = "user_encoder"  # in config.json, as transformers tells models apart
_CONFIG = "config.json"


def own_folder(named: str) -> str:
    """The folder of an encoder, given it or that of its run."""
    inner = storage.join(named, "encoder")
    is_run = not storage.exists(storage.join(named, _CONFIG)) and storage.exists(storage.join(inner, _CONFIG))
    return inner if is_run else named


def fingerprint(folder: str) -> str:
    """A name of the weights in a folder."""
    digest = hashlib.sha256()
    for file in sorted(storage.list_files(folder, ".safetensors"), key=lambda file: file.uri):
        digest.update(storage.read_bytes(file.uri))
    return digest.hexdigest()[:16]


def move_into(scratch: Path, folder: Path) -> None:
    """Replace an encoder's files by those of a scratch folder inside it, and drop parts of larger weights."""
    names = [path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(scratch / name, folder / name)
    for path in folder.glob("model*.safetensors*"):
        if Path(path.name) not in names:
            path.unlink()


def check_folder(path: Path, named: str) -> None:
    """Check that a local folder holds an encoder, which errors call as it was named.

    Raises:
        UserError: it does not.
    """
    for name in ("config.json", "model.safetensors"):
        if not any(path.glob(f"{name}*")):  # a table beyond 50 GB is saved in parts, with an index
            raise UserError(f"no encoder at {named}: {name} is missing")
    try:
        kind = json.loads((path / "config.json").read_text()).get("model_type")
    except ValueError as error:
        raise UserError(f"the encoder at {named} cannot be read: config.json is not JSON ({error})") from error
    if kind != MODEL_TYPE:
        raise UserError(f"the model at {named} is a {kind!r}, not a {MODEL_TYPE!r}")
