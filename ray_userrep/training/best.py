"""The best weights of a run so far, in files that a manifest names with their SHA-256.

    <run>/best/3f9a0c….safetensors                              the weights
    <run>/best/3f9a0c…-rows-00000-of-00002.safetensors          rank 0's rows of item tables
    <run>/best/manifest.json                                    written last: which files, and what they hold

A crash before the manifest leaves the weights before in force; the price is both on disk for a moment. Every rank
writes the rows that it holds, so that nothing large is gathered each time that weights are the best: tables are put
together when they are read, in a file that the system maps, and none of them is whole in memory.

Shapes: S rows that a rank holds, W ranks.
"""

import hashlib
import math
import re
import tempfile
import uuid
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.ranks import told
from ray_userrep.training.shards import Stretch, row_shards, stretches, write
from ray_userrep.training.step import Engine

_MANIFEST, _ROWS = "manifest.json", "-rows-"
_NAME = re.compile(r"[0-9a-f]{32}(-rows-\d{5,}-of-\d{5,})?\.safetensors")


def keep_best(run_uri: str, weights: dict[str, Tensor]) -> None:
    """Keep weights in place of those before."""
    name = f"{uuid.uuid4().hex}.safetensors"
    _publish(_folder(run_uri), {name: _saved(_folder(run_uri), name, weights)})


def keep_best_of_ranks(engine: Engine, run_uri: str) -> None:
    """Keep the encoder's weights of all ranks in place of those before; all ranks have to ask."""
    folder, place = _folder(run_uri), told(engine, lambda: uuid.uuid4().hex)
    weights, rows = engine.encoder_state(), row_shards(engine.model.encoder)
    names = [f"{place}{_ROWS}{rank:05d}-of-{engine.world:05d}.safetensors" for rank in range(engine.world)]
    files = {}
    if rows:
        with storage.local_file(storage.join(folder, names[engine.rank])) as path:
            write(rows, path)
            own = storage.sha256(str(path))
        files = dict(zip(names, _of_all_ranks(engine, own), strict=True))
    if weights is not None:
        name = f"{place}.safetensors"
        _publish(folder, {name: _saved(folder, name, weights), **files})
    engine.barrier()


def has_best(run_uri: str) -> bool:
    """Whether any were kept."""
    return storage.exists(storage.join(_folder(run_uri), _MANIFEST))


def read_best(run_uri: str) -> dict[str, Tensor]:
    """The weights that were kept, tables whole; they are mapped from files, which stay while they are in use.

    Raises:
        UserError: they are not what was written.
    """
    folder, weights, tables = _folder(run_uri), dict[str, Tensor](), dict[str, list[Stretch]]()
    for name, sha in _files(folder).items():
        with storage.unchanged(storage.join(folder, name), sha) as path:
            if path is None:
                raise _changed(folder)
            if _ROWS not in name:
                weights |= load_file(path)
                continue
            for key, found in stretches(path).items():
                tables.setdefault(key, []).extend(found)
    return weights | {name: _whole(found) for name, found in tables.items()}


def drop_best(run_uri: str) -> None:
    """Delete the weights that were kept."""
    storage.delete(_folder(run_uri))


def _saved(folder: str, name: str, weights: dict[str, Tensor]) -> str:
    """Write weights and return their checksum."""
    with storage.local_file(storage.join(folder, name)) as path:
        save_file({name: value.contiguous() for name, value in weights.items()}, path)
        return storage.sha256(str(path))


def _publish(folder: str, files: dict[str, str]) -> None:
    storage.write_json(storage.join(folder, _MANIFEST), {"files": files})
    for entry in storage.list_files(folder, ".safetensors"):
        if entry.uri.rpartition("/")[2] not in files:
            storage.delete(entry.uri)


def _files(folder: str) -> dict[str, str]:
    """The files of the weights and their checksums, as the manifest says."""
    files = storage.read_object(storage.join(folder, _MANIFEST)).get("files")
    if not isinstance(files, dict) or not all(_NAME.fullmatch(name) for name in files):
        raise _changed(folder)
    return {name: str(sha) for name, sha in files.items()}


def _changed(folder: str) -> UserError:
    return UserError(
        f"{folder}: the best weights are missing or were changed after they were written: put them back, or train "
        "again in another folder with --run"
    )


def _of_all_ranks(engine: Engine, sha: str) -> list[str]:
    """The checksum of each rank."""
    sums = torch.zeros(engine.world, hashlib.sha256().digest_size, dtype=torch.int32, device=engine.device)
    sums[engine.rank] = torch.tensor(list(bytes.fromhex(sha)), dtype=torch.int32)
    return [bytes(row).hex() for row in engine.sum(sums).tolist()]


def _whole(found: list[Stretch]) -> Tensor:
    """A table from the rows of all ranks; those of several are put together in a file that is gone with the table."""
    if len(found) == 1:
        return found[0].values_N
    shape = (sum(len(one.values_N) for one in found), *found[0].values_N.shape[1:])
    with tempfile.TemporaryDirectory() as scratch:
        file = str(Path(scratch) / "table")
        table = torch.from_file(file, shared=True, size=math.prod(shape), dtype=found[0].values_N.dtype).view(shape)
    while found:  # what has been copied is let go: it is mapped, and its pages count as this process's
        one = found.pop()
        table[one.start :: one.step] = one.values_N
    return table


def _folder(run_uri: str) -> str:
    return storage.join(run_uri, "best")
