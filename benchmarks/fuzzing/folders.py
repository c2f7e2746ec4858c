"""Corpora, encoders and runs of every job, one file of each damaged, and opened as the jobs open them."""

import hashlib
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fuzzing.mutations import damage
from fuzzing.outcomes import FINE, Case, OtherDataError
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.workflows.report import run_report
from ray_userrep.workflows.runs import runs_table


class Stored(NamedTuple):
    """A folder that a job wrote, and how it is read to the last value."""

    name: str
    folder: Path
    read: Callable[[Path], Any]


def folder_cases(stored: Stored, seed: int, scratch: Path) -> Case:
    """What is read of the folder with one file damaged must be what was read of it whole, or be refused."""
    whole = copied(stored, scratch)
    expected = stored.read(whole)
    shutil.rmtree(whole)
    return partial(_case, stored, seed, scratch, expected)


def copied(stored: Stored, scratch: Path) -> Path:
    """A copy, always in the same place: places of its own are part of what a run holds."""
    folder = scratch / "whole"
    shutil.rmtree(folder, ignore_errors=True)  # a case that died left its own
    shutil.copytree(stored.folder, folder)
    return folder


def _case(stored: Stored, seed: int, scratch: Path, expected: Any, number: int) -> str:
    folder = copied(stored, scratch)
    try:
        done = damage(random.Random(f"{stored.name} {seed} {number}"), folder)
        if stored.read(folder) != expected:
            raise OtherDataError(done)
        return FINE
    finally:
        shutil.rmtree(folder)


def read_corpus(folder: Path) -> Any:
    """Manifest, items, users and every bucket, and the split that goes by them."""
    corpus = open_corpus(str(folder))
    buckets = [corpus.bucket(number, corpus.manifest.side_columns) for number in corpus.buckets()]
    resolve(LeaveOneOutConfig(), corpus)
    users = corpus.users()
    return (
        corpus.manifest.model_dump_json(exclude={"created", "peak_bytes"}),
        _digest(corpus.items().table.to_pylist(), None if users is None else users.to_pylist()),
        [_digest(bucket.user_ids.to_pylist(), *(part.tobytes() for part in _arrays(bucket))) for bucket in buckets],
    )


def _arrays(bucket: Any) -> list[Any]:
    return [bucket.user_hash_U, bucket.offsets_U1, bucket.items_N, bucket.timestamps_N, *bucket.side_N.values()]


def read_encoder(folder: Path) -> Any:
    """Weights, config, items, and the vectors of a few histories."""
    encoder = UserEncoder.from_pretrained(str(folder))
    assert encoder.item_table is not None
    ids = encoder.item_table.ids.to_pylist()
    vectors = encoder.encode([ids[:1], ids[:5], ids[-3:]])
    weights = {name: value.numpy().tobytes() for name, value in encoder.state_dict().items()}
    return _digest(encoder.config.to_json_string(), encoder.item_table.table.to_pylist(), weights, vectors.tobytes())


def read_run(folder: Path) -> Any:
    """Its page and its row in the table of runs."""
    run_report(str(folder))
    page = (folder / "report.html").read_bytes()
    return _digest(page, runs_table(str(folder)).to_json())


def _digest(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
