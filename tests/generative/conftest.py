"""A corpus of users who walk through items, rate them by the item's number and review them in two sentences."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.generative.lexicon import LEXICON, learn_lexicon
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from tests.training.conftest import small_recipe, write_corpus

FAMILIES = ("rating", "sequential", "explanation", "review", "direct")
PARTS = ("strings", "cover", "sound", "paint")


def review(user: int, item: int) -> str:
    return f"Well, no {user} here! The {PARTS[item % 4]} of it is {'poor' if item % 2 else 'lovely'} and new."


def write_reviews(uri: str, num_users: int = 120) -> Corpus:
    """The corpus of training tests, with ratings and texts beside every interaction."""
    corpus = write_corpus(uri, num_users=num_users)
    for file in corpus.manifest.sequences:
        table = storage.read_parquet(storage.join(uri, file.path))
        items, offsets = table["items"].combine_chunks(), table["items"].combine_chunks().offsets
        of_user = np.repeat(table["user_id"].to_numpy(), items.value_lengths())
        pairs = list(zip(of_user.tolist(), items.values.to_pylist(), strict=True))
        told = {
            "rating": pa.array([1.0 + item % 5 for _, item in pairs]),
            "review": pa.array([review(*pair) for pair in pairs]),
            "summary": pa.array(["a poor one" if item % 2 else "a lovely one" for _, item in pairs]),
        }
        for name, column in told.items():
            table = table.append_column(name, pa.ListArray.from_arrays(offsets, column))
        write_sequences(uri, file.path, table)
    manifest = corpus.manifest.model_copy(update={"side_columns": [*told]})
    storage.write_text(manifest_uri(uri, 1), manifest.model_dump_json())
    return open_corpus(uri)


def small_text(**changes: object) -> Recipe:
    """A model of text of a few thousand parameters."""
    return small_recipe(**{
        "stream.max_len": 96, "stream.windows": "last", "stream.batch_tokens": 4096, "stream.micro_tokens": 1024,
        "generative.families": FAMILIES, "generative.width": 16, "generative.layers": 1, "generative.heads": 2,
        "generative.feed_forward": 32, "generative.dropout": 0.0, "generative.vocabulary": 400,
        "generative.max_target": 24, "generative.max_history": 5, "generative.beams": 20,
        "generative.unconstrained": 20, "evaluation.max_users": 30, "evaluation.num_bootstrap": 100,
        "encoder": EncoderConfig().model_dump(), "train.max_steps": 6, "train.epochs": 9.0,
        "evaluation.exclude_seen": True, **changes,
    })  # fmt: skip


def learn(recipe: Recipe, corpus: Corpus, run: Path | str):
    """The lexicon of a run, learned or read."""
    split = resolve(recipe.split, corpus, recipe.stream.user_share)
    return learn_lexicon(recipe, corpus, split, storage.join(str(run), LEXICON))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Corpus:
    return write_reviews(str(tmp_path_factory.mktemp("reviews") / "corpus"))
