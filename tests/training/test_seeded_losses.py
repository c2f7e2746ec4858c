"""Losses of three recipes as they were stored: a change that should not change numbers is held to them.

Bare loop, and two ranks with ZeRO 0 and 3. Other processors round otherwise, hence the tolerance.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import recipes, storage
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.corpus.text import rewordings, texts_of, vectors_uri, write_vectors
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.recipe import Recipe
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import write_corpus
from tests.training.test_domains import in_domains

STORED = json.loads(Path(__file__).with_name("seeded_losses.json").read_text())
TEXT_WIDTH = 12


def small(name: str) -> Recipe:
    """The recipe with windows, batches and steps cut down."""
    raw = recipes.recipe(name).model_dump()
    raw["stream"] |= {"max_len": 8, "batch_tokens": 128}
    raw["train"] |= {"max_steps": 12, "epochs": 9.0, "log_every": 4}
    if name == "unisrec":
        raw["encoder"]["width"] = 32
    return Recipe.model_validate(raw)


def in_two_domains_with_texts(corpus: Corpus, config: TextConfig) -> Corpus:
    """The corpus with every third interaction in another domain, and drawn text vectors."""
    items_uri = storage.join(corpus.uri, corpus.manifest.items)
    items = storage.read_parquet(items_uri)
    texts = pa.array([f"thing {i % 7} number {i}" for i in range(len(items))])
    storage.write_parquet(items_uri, items.append_column("text", texts))
    corpus = in_domains(corpus, lambda _, place: np.where(place % 3 == 0, "music", "books"))
    update = {"domains": {"books": 1, "music": 1}}
    storage.write_json(manifest_uri(corpus.uri, 1), corpus.manifest.model_copy(update=update).model_dump())
    corpus = open_corpus(corpus.uri)
    table, rng = corpus.items(), np.random.default_rng(5)
    for reword in rewordings(config).values():
        drawn = pa.array(rng.normal(size=len(table) * TEXT_WIDTH).astype(np.float32))
        vectors = pa.FixedSizeListArray.from_arrays(drawn, TEXT_WIDTH)
        write_vectors(vectors_uri(corpus, reword(texts_of(table)), config), vectors)
    return corpus


def with_stage(recipe: Recipe, stage: int, init: bool = False) -> Recipe:
    raw = recipe.model_dump()
    raw["train"]["zero"] |= {"stage": stage, "init": init}
    return Recipe.model_validate(raw)


@pytest.mark.parametrize("name", STORED)
def test_losses_are_those_that_were_stored(name, tmp_path):
    recipe, corpus = small(name), write_corpus(str(tmp_path / "corpus"))
    if name == "unisrec":
        corpus = in_two_domains_with_texts(corpus, recipe.text)
    fit_bare(recipe, corpus, tmp_path / "bare")
    for stage in (0, 3):
        assert fit_on_ranks(2, with_stage(recipe, stage), corpus, tmp_path / f"zero-{stage}") == []
    for way, stored in STORED[name].items():
        np.testing.assert_allclose(losses(tmp_path / way), stored, rtol=1e-4, err_msg=way)
