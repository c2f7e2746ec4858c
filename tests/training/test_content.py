"""Items of texts and pictures train alike on one worker and two, whole or partitioned, and after a resume."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.states import items_with_content, wanted_states
from ray_userrep.corpus.store import open_corpus
from ray_userrep.corpus.text import write_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from tests.pictures import TINY, pictures, states, tiny_bert
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import NUM_ITEMS, small_recipe, write_corpus


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A corpus whose items have titles, pictures, both or nothing, and a recipe that reads them."""
    folder = tmp_path_factory.mktemp("content")
    tiny_bert(folder / "bert")
    language = {"kind": "language", "model": str(folder / "bert"), "trained_layers": 1, **TINY}
    items = {"kind": "by_modality", "parts": [language, {"kind": "image", "pixels": 32}]}
    softmax = {"kind": "sampled", "loss": "bce", "sampler": "counts", "alpha": 0.0, "num_negatives": 16}
    objective = {"kind": "autoregressive", "softmax": softmax, "horizon": 3}
    changes = {"encoder.items": items, "objective": objective, "train.max_steps": 6, "train.checkpoint_every": 0.1}
    recipe = small_recipe(**changes, **{"stream.micro_tokens": 48})
    corpus = write_corpus(str(folder / "corpus"), num_users=40)
    place, ids = storage.join(corpus.uri, corpus.manifest.items), range(NUM_ITEMS)
    table = storage.read_parquet(place)
    table = table.append_column("text", pa.array([f"thing {i}" if i % 3 else None for i in ids]))
    storage.write_parquet(place, table.append_column("image", pictures([i if i % 5 else None for i in ids])))
    corpus = open_corpus(corpus.uri)
    (wanted,) = wanted_states(corpus, corpus.items(), recipe.encoder)
    write_vectors(wanted.uri, states([i if i % 3 else None for i in ids], TINY["width"]))
    return corpus, recipe, folder


def test_workers_and_stages_do_not_change_the_losses(given):
    corpus, recipe, folder = given
    fit_bare(recipe, corpus, folder / "bare")
    expected = losses(folder / "bare")
    assert len(expected) == 6 and np.ptp(expected) > 0
    for stage in (0, 3):
        raw = recipe.model_dump()
        raw["train"]["zero"] |= {"stage": stage, "init": stage == 3}
        chosen = type(recipe).model_validate(raw)
        assert fit_on_ranks(2, chosen, corpus, folder / f"zero-{stage}") == []
        np.testing.assert_allclose(losses(folder / f"zero-{stage}"), expected, rtol=1e-4, err_msg=f"stage {stage}")
    kept = UserEncoder.from_pretrained(str(folder / "bare" / "encoder"))
    made = UserEncoder.from_pretrained(str(folder / "zero-3" / "encoder"))
    assert kept.item_table.table.equals(items_with_content(corpus, recipe.encoder, recipe.text).table)
    np.testing.assert_allclose(made.encode([["item-1", "item-15"]]), kept.encode([["item-1", "item-15"]]), atol=1e-3)


def test_a_resumed_run_has_the_same_losses(given):
    corpus, recipe, folder = given
    fit_bare(recipe, corpus, folder / "resumed")
    whole = losses(folder / "resumed")
    shutil.rmtree(sorted((folder / "resumed" / "checkpoints").iterdir())[-1])
    fit_bare(recipe, corpus, folder / "resumed")
    assert losses(folder / "resumed") == whole
