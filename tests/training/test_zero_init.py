"""Models built partitioned: items of every kind, systems that train as those built whole, a large one's memory."""

import importlib
from pathlib import Path

import deepspeed
import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.distributed import zero
from ray_userrep.distributed.workers import INIT_ENVIRONMENT
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from tests.encoder.items.test_items import KINDS, TABLE
from tests.ranks import fit_bare, fit_rank, losses, on_ranks
from tests.training.conftest import write_corpus
from tests.training.test_seeded_losses import in_two_domains_with_texts, small, with_stage

SYSTEMS = (
    "clue_naver",
    "unisrec",
    "text",
    "shopperbert",
    "two_towers",
)  # items: words, whitened texts, texts, a sum, columns


def shortened(name: str) -> Recipe:
    """A system's recipe for four steps and few users."""
    raw = small(name).model_dump()
    raw["train"] |= {"max_steps": 4}
    raw["evaluation"] |= {"max_users": 20}
    return Recipe.model_validate(raw)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Everything that one rank of DeepSpeed builds partitioned: items of every kind, and systems that it trains."""
    folder = tmp_path_factory.mktemp("partitioned")
    corpus = write_corpus(f"{folder}/corpus")
    items_uri = storage.join(corpus.uri, corpus.manifest.items)
    items = storage.read_parquet(items_uri)
    items = items.append_column("category", pa.array([f"c{i % 4}|d{i % 3}" for i in range(len(items))]))
    storage.write_parquet(items_uri, items.append_column("price", pa.array(np.arange(len(items), dtype=np.float64))))
    in_two_domains_with_texts(corpus, shortened("unisrec").text)
    assert on_ranks(1, build_and_fit, folder / "meeting", corpus.uri, str(folder)) == []
    return folder


def build_and_fit(corpus_uri: str, folder: str) -> None:
    with_init = with_stage(shortened("text"), 3, init=True)
    for number, config in enumerate(KINDS):
        torch.manual_seed(0)
        with zero.partitioned_init(with_init.train):
            encoder = build_encoder(EncoderConfig(width=16, items=config), TABLE, 8)
        with deepspeed.zero.GatheredParameters([*encoder.parameters()]), torch.no_grad():
            torch.save(encoder.eval().items(None).clone(), f"{folder}/vectors-{number}.pt")
    for name in SYSTEMS:
        fit_rank(with_stage(shortened(name), 3, init=True).model_dump_json(), corpus_uri, f"{folder}/{name}", False)


@pytest.mark.parametrize("number", range(len(KINDS)), ids=lambda number: type(KINDS[number]).__name__)
def test_items_built_partitioned_take_their_table_and_have_the_vectors_of_those_built_whole(folder, number):
    torch.manual_seed(0)
    whole = build_encoder(EncoderConfig(width=16, items=KINDS[number]), TABLE, 8).eval().items(None).detach()
    assert torch.equal(torch.load(f"{folder}/vectors-{number}.pt"), whole)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_built_partitioned_trains_as_in_the_bare_loop(folder, name):
    fit_bare(shortened(name), open_corpus(f"{folder}/corpus"), folder / "bare" / name)
    expected = losses(folder / "bare" / name)
    assert len(expected) == 4 and np.ptp(expected) > 0
    np.testing.assert_allclose(losses(folder / name), expected, rtol=1e-4)


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_building_partitioned_takes_little_more_than_a_rank_s_share(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name, value in INIT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    benchmark = importlib.import_module("zero_init")
    whole, partitioned = benchmark.measure(init=False), benchmark.measure(init=True)
    assert partitioned["parameters"] == whole["parameters"] > 100e6
    assert partitioned["peak_bytes"] <= 0.65 * whole["peak_bytes"]
    assert partitioned["equal"], "the exported weights are those of a model that was built whole"
