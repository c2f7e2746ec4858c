"""Checkpoints in the run folder: each rank writes its files, rank 0 publishes them with their checksums.

    <run>/checkpoints/step-00000120/…             what the engine wrote, one part a rank
    <run>/checkpoints/step-00000120/manifest.json  written last: state, world size, checksums

A checkpoint without a manifest does not exist, so a crash while saving costs nothing but its files. The engine's
files are pickles: only those whose checksums the manifest holds are ever opened.
"""

import hashlib
import json
import tempfile
from pathlib import Path

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.loop import TrainState
from ray_userrep.training.step import Engine

_MANIFEST = "manifest.json"


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay."""

    def __init__(self, run_uri: str, keep: int) -> None:
        self._folder = storage.join(run_uri, "checkpoints")
        self._keep = keep

    def save(self, engine: Engine, state: TrainState) -> None:
        """Write and publish a checkpoint; returns on all ranks once it is there."""
        uri = storage.join(self._folder, f"step-{state.step:08d}")
        with tempfile.TemporaryDirectory() as scratch:
            engine.save(scratch)
            sums = {name: _sha256(Path(scratch) / name) for name in _files(scratch)}
            storage.upload_dir(scratch, uri)
        storage.write_json(storage.join(uri, f"checksums-{engine.rank}.json"), sums)
        engine.barrier()
        if engine.rank == 0:
            files: dict[str, str] = {}
            for rank in range(engine.world):
                files |= storage.read_json(storage.join(uri, f"checksums-{rank}.json"))
            manifest = {"world": engine.world, "state": state.to_json(), "files": files}
            storage.write_json(storage.join(uri, _MANIFEST), manifest)
            self._drop_old()
        engine.barrier()

    def load_latest(self, engine: Engine) -> TrainState | None:
        """Restore the newest published checkpoint into the engine; None where there is none.

        Raises:
            UserError: it was written by another number of workers, or its files are not what was written.
        """
        published = self._published()
        if not published:
            return None
        uri = published[-1]
        manifest = json.loads(storage.read_text(storage.join(uri, _MANIFEST)))
        if manifest["world"] != engine.world:
            raise UserError(
                f"checkpoint {uri} was written by {manifest['world']} workers, this run has {engine.world}: "
                f"set train.num_workers to {manifest['world']}"
            )
        with tempfile.TemporaryDirectory() as scratch:
            storage.download_dir(uri, scratch)
            for name, expected in manifest["files"].items():
                path = Path(scratch) / name
                if not path.exists() or _sha256(path) != expected:
                    raise UserError(
                        f"checkpoint {uri}: {name} is missing or was changed after it was written: delete {uri}"
                    )
            engine.load(scratch)
        engine.barrier()
        return TrainState.from_json(manifest["state"])

    def _published(self) -> list[str]:
        if not storage.exists(self._folder):
            return []
        manifests = [e.uri for e in storage.list_files(self._folder, _MANIFEST)]
        return sorted(uri.removesuffix("/" + _MANIFEST) for uri in manifests)

    def _drop_old(self) -> None:
        for uri in self._published()[: -self._keep]:
            storage.delete(storage.join(uri, _MANIFEST))
            storage.delete(uri)


def _files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
