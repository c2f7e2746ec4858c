"""The folder of an encoder: what is in it, and how new files take the place of old ones.

What each file held when it was written is in `checksums.json`, so that a damaged encoder gives no vectors at all; that
costs reading every file once more when it is loaded.
"""

import hashlib
import json
import os
from pathlib import Path

from ray_userrep import storage
from ray_userrep.errors import UserError

MODEL_TYPE = "user_encoder"  # in config.json, as transformers tells models apart
FORMAT = 1  # of the folder, in config.json: what a later one holds cannot be read here
_CONFIG = "config.json"
_READ = (_CONFIG, "model*.safetensors*", "items/items.arrow", "graph/*.arrow")


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


def weights_sums(folder: Path) -> dict[str, str]:
    """The checksums of the files of weights in a local folder, as they were written down."""
    known = storage.read_object(str(folder / storage.CHECKSUMS))
    return {name: str(known[name]) for name in known if name.startswith("model")}


def read_out_at(folder: str) -> str:
    """Where the encoder in a folder reads users out, in the words of `encoder.readout`."""
    config = storage.read_object(storage.join(folder, _CONFIG))
    return str(config.get("readout") or config["encoder"]["readout"])


def identity(folder: str) -> str:
    """A name of all that an encoder is read from, by its checksums; nothing where there is none."""
    sums = storage.join(folder, storage.CHECKSUMS)
    return hashlib.sha256(storage.read_bytes(sums)).hexdigest()[:16] if storage.exists(sums) else ""


def move_into(scratch: Path, folder: Path) -> None:
    """Replace an encoder's files by those of a scratch folder inside it, and drop parts of larger weights."""
    names = [path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(scratch / name, folder / name)
    for path in folder.glob("model*.safetensors*"):
        if Path(path.name) not in names:
            path.unlink()


def write_checksums(folder: Path) -> None:
    """Write down what the files that make an encoder hold; its card may be told more later."""
    storage.write_checksums(str(folder), _files(folder))


def check_folder(path: Path, named: str) -> None:
    """Check that a local folder holds an encoder, which errors call as it was named.

    Raises:
        UserError: it does not.
    """
    for name in (_CONFIG, "model.safetensors", storage.CHECKSUMS):
        if not any(path.glob(f"{name}*")):  # a table beyond 50 GB is saved in parts, with an index
            raise UserError(f"no encoder at {named}: {name} is missing")
    try:
        config = json.loads((path / _CONFIG).read_text())
    except ValueError as error:
        raise UserError(f"the encoder at {named} cannot be read: config.json is not JSON ({error})") from error
    kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
    if kind != MODEL_TYPE:
        raise UserError(f"the model at {named} is a {kind!r}, not a {MODEL_TYPE!r}")
    storage.refuse_newer(config.get("format"), FORMAT, f"the encoder at {named}")
    _refuse_changed(path, named)


def _refuse_changed(path: Path, named: str) -> None:
    if (name := storage.changed(str(path), _files(path))) is not None:
        raise UserError(
            f"the encoder at {named} is not whole: {name} is missing or was changed after it was written: "
            "copy or export it again"
        )


def _files(folder: Path) -> list[str]:
    """The files that an encoder is read from."""
    return sorted(path.relative_to(folder).as_posix() for pattern in _READ for path in folder.glob(pattern))
