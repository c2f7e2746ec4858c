"""The best weights of a run so far, in files that say what they are.

    <run>/best/3f9a0c….safetensors    named by its SHA-256
    <run>/best/manifest.json          which of them it is

A crash between the two leaves the ones before in force; the price is both on disk for a moment.
"""

import hashlib
import re

from safetensors.torch import load, save
from torch import Tensor

from ray_userrep import storage
from ray_userrep.errors import UserError

_MANIFEST = "manifest.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def keep_best(run_uri: str, weights: dict[str, Tensor]) -> None:
    """Keep weights in place of those before."""
    folder = _folder(run_uri)
    data = save({name: value.contiguous() for name, value in weights.items()})
    digest = hashlib.sha256(data).hexdigest()
    storage.write_bytes(_file(folder, digest), data)
    storage.write_json(storage.join(folder, _MANIFEST), {"sha256": digest})
    for entry in storage.list_files(folder, ".safetensors"):
        if not entry.uri.endswith(_file("", digest)):
            storage.delete(entry.uri)


def has_best(run_uri: str) -> bool:
    """Whether any were kept."""
    return storage.exists(storage.join(_folder(run_uri), _MANIFEST))


def read_best(run_uri: str) -> dict[str, Tensor]:
    """The weights that were kept.

    Raises:
        UserError: they are not what was written.
    """
    folder = _folder(run_uri)
    digest = storage.read_object(storage.join(folder, _MANIFEST)).get("sha256")
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        data = storage.read_bytes(_file(folder, digest)) if storage.exists(_file(folder, digest)) else b""
        if hashlib.sha256(data).hexdigest() == digest:
            return load(data)
    raise UserError(
        f"{folder}: the best weights are missing or were changed after they were written: put them back, or train "
        "again in another folder with --run"
    )


def drop_best(run_uri: str) -> None:
    """Delete the weights that were kept."""
    storage.delete(_folder(run_uri))


def _folder(run_uri: str) -> str:
    return storage.join(run_uri, "best")


def _file(folder: str, digest: str) -> str:
    return storage.join(folder, f"{digest}.safetensors")
