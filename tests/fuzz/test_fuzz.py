"""Some of the cases of benchmarks/fuzz.py: no traceback, no hang, and of an encoder no other vectors."""

import importlib
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.recipe.encoder import EncoderConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def wrong(case, numbers, allowed) -> list:
    outcome_of = importlib.import_module("fuzzing.outcomes").outcome_of
    told = [outcome_of(case, number) for number in numbers]
    return [one for one in told if one.outcome not in allowed]


def test_mistyped_recipes_are_accepted_or_refused_in_one_line(tmp_path):
    case = partial(importlib.import_module("fuzzing.recipes").recipe_case, 0, tmp_path)
    assert wrong(case, range(60), {"as it was", "one clear error"}) == []


def test_damaged_logs_are_read_set_aside_or_refused(tmp_path):
    case = partial(importlib.import_module("fuzzing.logs").log_case, 0, tmp_path)
    told = {"as it was", "rows set aside and counted", "one clear error", "other data"}  # logs have no checksums
    assert wrong(case, range(30), told) == []


def test_damaged_encoders_give_the_same_vectors_or_none(tmp_path):
    folders = importlib.import_module("fuzzing.folders")
    table = ItemTable(pa.table({"item_id": [f"i{n}" for n in range(20)], "count": [1] * 20}))
    build_encoder(EncoderConfig(width=8), table, 8).eval().save_pretrained(tmp_path / "encoder")
    stored = folders.Stored("encoder", tmp_path / "encoder", folders.read_encoder)
    case = folders.folder_cases(stored, 0, tmp_path)
    assert wrong(case, range(30), {"as it was", "one clear error"}) == []
