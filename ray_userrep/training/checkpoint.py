"""Checkpoints in the run folder: each rank writes what it holds, rank 0 publishes them with their checksums.

    <run>/checkpoints/step-00000120/weights-00000-of-00002.safetensors …    the state, in parts (`shards.py`)
    <run>/checkpoints/step-00000120/manifest.json    written last: progress, data, sizes of tensors, checksums

A checkpoint without a manifest does not exist, so a crash while saving costs nothing but its files, until a later one
is saved. Nothing in it depends on how many workers wrote it. Rank 0 says which is the newest. Two worker groups that
save the same step, as a lost one may for a moment after its successor has started, write the same bytes or other names.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.loop import TrainState
from ray_userrep.training.ranks import told
from ray_userrep.training.rows import held_rows
from ray_userrep.training.shards import Shard, named_state, restore, row_shards, write
from ray_userrep.training.step import Engine

_MANIFEST = "manifest.json"
_STEP = re.compile(r"step-\d{8,}")


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay; `data` names what is trained on."""

    def __init__(self, run_uri: str, keep: int, data: str) -> None:
        self._folder = storage.join(run_uri, "checkpoints")
        self._keep = keep
        self._data = data

    def save(self, engine: Engine, state: TrainState) -> None:
        """Write and publish a checkpoint; returns on all ranks once it is there."""
        uri = storage.join(self._folder, f"step-{state.step:08d}")
        sums = _write(_files(engine), uri)
        storage.write_json(_sums_uri(uri, engine.rank, engine.world), sums)
        engine.barrier()
        if engine.rank == 0:
            files: dict[str, str] = {}
            for rank in range(engine.world):
                files |= storage.read_json(_sums_uri(uri, rank, engine.world))
            manifest = {
                "world": engine.world,
                "state": state.to_json(),
                "data": self._data,
                "sizes": _sizes(engine),
                "files": files,
            }
            storage.write_json(storage.join(uri, _MANIFEST), manifest)
            self._drop_old()
        engine.barrier()

    def load_latest(self, engine: Engine) -> TrainState | None:
        """Restore the newest published checkpoint into the engine; None where there is none.

        Raises:
            UserError: it is of other data or another model, or its files are not what was written; on all ranks alike.
        """
        newest = told(engine, self._newest)
        if newest is None:
            return None
        uri, manifest = newest
        self._refuse_other(uri, manifest, engine)
        stored = _Stored(uri, manifest["files"])
        complete = [not restore(parts, stored.of(name)) for name, parts in _files(engine).items()]
        stored.refuse_damaged(engine, all(complete))
        return TrainState.from_json(manifest["state"])

    def _refuse_other(self, uri: str, manifest: dict[str, Any], engine: Engine) -> None:
        if manifest["data"] != self._data:
            raise UserError(
                f"checkpoint {uri} was written while training on other data (split fingerprint {manifest['data']}, now "
                f"{self._data}): name the corpus version it was started with, or another run with --run"
            )
        stored, own = manifest["sizes"], _sizes(engine)
        other = sorted(name for name in stored.keys() | own.keys() if stored.get(name) != own.get(name))
        if other:
            raise UserError(
                f"checkpoint {uri} is of another model: {other[0]} has {stored.get(other[0], 'no')} elements there and "
                f"{own.get(other[0], 'none')} here: name another run with --run"
            )

    def _newest(self) -> tuple[str, dict[str, Any]] | None:
        """Place and manifest of the newest published checkpoint."""
        published = [uri for uri, is_published in self._begun() if is_published]
        return (published[-1], _read_manifest(published[-1])) if published else None

    def _begun(self) -> list[tuple[str, bool]]:
        """The checkpoints that there are files of, oldest first, and whether they were published."""
        if not storage.exists(self._folder):
            return []
        found: dict[str, bool] = {}
        for entry in storage.list_files(self._folder, hidden=True):  # what was being written is hidden
            step, _, name = entry.uri.removeprefix(self._folder).strip("/").partition("/")
            if _STEP.fullmatch(step) and name:  # whatever else lies here is not ours
                uri = storage.join(self._folder, step)
                found[uri] = found.get(uri, False) or name == _MANIFEST
        return sorted(found.items())

    def _drop_old(self) -> None:
        """Delete all before those that stay, and what crashes left between them."""
        begun = self._begun()
        kept = [uri for uri, is_published in begun if is_published][-self._keep :]
        for uri, is_published in begun:
            if uri < kept[-1] and uri not in kept:
                if is_published:
                    storage.delete(storage.join(uri, _MANIFEST))
                storage.delete(uri)


class _Stored:
    """The files of a checkpoint, opened one at a time and only where their checksum holds."""

    def __init__(self, uri: str, checksums: dict[str, str]) -> None:
        self._uri = uri
        self._checksums = dict(sorted(checksums.items()))
        self._damaged: set[str] = set()

    def of(self, own_name: str) -> Iterator[Path]:
        """The files of one kind, from the place of this rank's own on: what it needs is likely to be there."""
        names = [name for name in self._checksums if name.split("-")[0] == own_name.split("-")[0]]
        first = sum(name < own_name for name in names)
        for name in names[first:] + names[:first]:
            with storage.unchanged(storage.join(self._uri, name), self._checksums[name]) as path:
                if path is None:
                    self._damaged.add(name)
                else:
                    yield path

    def refuse_damaged(self, engine: Engine, complete: bool) -> None:
        """Refuse on every rank what any rank has found wrong."""
        wrong = [*(name in self._damaged for name in self._checksums), not complete]
        found: Tensor = engine.sum(torch.tensor(wrong, dtype=torch.float32, device=engine.device)).cpu()
        damaged = [name for name, count in zip(self._checksums, found, strict=False) if count]
        if damaged:
            raise UserError(
                f"checkpoint {self._uri}: {damaged[0]} is missing or was changed after it was written: "
                f"delete {self._uri} to go on from the one before"
            )
        if found[-1]:
            raise UserError(
                f"checkpoint {self._uri} lacks a part of what is trained here, such as what was frozen then: "
                "name another run with --run"
            )


class _Manifest(BaseModel):
    """What a manifest says; anything else was not written here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    world: int
    state: dict[str, Any]
    data: str
    sizes: dict[str, int]
    files: dict[str, str]


def _read_manifest(uri: str) -> dict[str, Any]:
    place = storage.join(uri, _MANIFEST)
    try:
        manifest = _Manifest.model_validate(storage.read_object(place))
        TrainState.from_json(manifest.state)
    except (UserError, TypeError, KeyError, ValidationError) as error:
        raise UserError(
            f"checkpoint {uri}: {_MANIFEST} is not what was written: delete {uri} to go on from the one before"
        ) from error
    return manifest.model_dump()


def _files(engine: Engine) -> dict[str, list[Shard]]:
    """What this rank writes, and under which names."""
    place = f"{engine.rank:05d}-of-{engine.world:05d}"
    # Each in a file of its own: of a file that is read all pages count as the process's until the last is copied.
    rows = {f"rows{number}-{place}.safetensors": [part] for number, part in enumerate(row_shards(engine.model))}
    return {
        f"weights-{place}.safetensors": engine.weights(),
        f"moments-{place}.safetensors": engine.moments(),
    } | rows


def _write(files: dict[str, list[Shard]], uri: str) -> dict[str, str]:
    """Write files below a URI and return their checksums."""
    sums = {}
    for name, parts in files.items():
        with storage.local_file(storage.join(uri, name)) as path:
            write(parts, path)
            sums[name] = storage.sha256(str(path))
    return sums


def _sums_uri(uri: str, rank: int, world: int) -> str:
    return storage.join(uri, f"checksums-{rank:05d}-of-{world:05d}.json")


def _sizes(engine: Engine) -> dict[str, int]:
    """Elements of every weight and buffer, whole."""
    state, rows = named_state(engine.model), held_rows(engine.model)
    sizes = {name: int(getattr(tensor, "ds_numel", tensor.numel())) for name, tensor in state.items()}
    return sizes | {name: held.table.num_items * held.rows_SD.shape[1] for name, held in rows.items()}
