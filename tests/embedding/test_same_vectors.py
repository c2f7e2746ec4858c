"""One user, one vector: what is served from raw ids, exported and evaluated, for every recipe."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep import recipes
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.profiles import profile_hashes
from ray_userrep.corpus.store import Bucket, side_values
from ray_userrep.embedding.tables import bucket_vectors
from ray_userrep.encoder.given import microseconds
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import sequences_of
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.recipe.recipe import Recipe
from tests.pictures import pictures, states

NUM_ITEMS, MAX_LEN, TEXT_WIDTH, WIDTH = 40, 8, 6, 16
FIELDS = {"event": pa.string(), "category": pa.string(), "price": pa.float64()}
TOWNS = pa.array(["Ulm", "Bonn", None] * 8)[:23]
USERS_E = hash_ids(pa.array([f"user-{i}" for i in range(5)] * 16))  # users of the log among them
GRAPH = UserItemGraph.of(USERS_E, np.arange(80) % NUM_ITEMS, NUM_ITEMS)
RECIPES = [name for name in recipes.names() if name != "ladder"]


@pytest.fixture(scope="module")
def table() -> ItemTable:
    vectors = np.random.default_rng(0).normal(size=NUM_ITEMS * TEXT_WIDTH).astype(np.float32)
    return ItemTable(pa.table({
        "item_id": [f"item-{i}" for i in range(NUM_ITEMS)],
        "count": np.arange(NUM_ITEMS, 0, -1),
        "category": [f"c{i % 4}|d{i % 3}" for i in range(NUM_ITEMS)],
        "price": np.arange(NUM_ITEMS, dtype=np.float64),
        "text": [f"thing {i % 7} no {i}" for i in range(NUM_ITEMS)],
        "text_states": states([i if i % 3 else None for i in range(NUM_ITEMS)], 384),
        "image": pictures([i if i % 4 else None for i in range(NUM_ITEMS)]),
        "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), TEXT_WIDTH),
        "reworded_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), TEXT_WIDTH),
    }))  # fmt: skip


@pytest.fixture(scope="module")
def lists() -> dict[str, pa.ListArray]:
    """Items, times and fields of users with histories of all lengths, some of them empty, as a caller has them."""
    rng = np.random.default_rng(1)
    lengths = np.concatenate([[0, 1, 3 * MAX_LEN + 2], rng.integers(0, 3 * MAX_LEN, 20)])
    offsets, total = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)), int(lengths.sum())
    times = np.concatenate([np.sort(rng.integers(0, 400 * 86_400 * 10**6, n)) for n in lengths]) + 17 * 10**14
    values = {
        "items": pa.array([f"item-{i}" for i in rng.integers(NUM_ITEMS, size=total)]),
        "timestamps": pa.array(times, pa.timestamp("us")),
        "event": pa.array(rng.choice(["view", "buy"], total)),
        "category": pa.array(rng.choice(["toys", "books", "tea"], total)),
        "price": pa.array(rng.uniform(0, 90, total)),
    }
    return {name: pa.ListArray.from_arrays(offsets, column) for name, column in values.items()}


def stored(table: ItemTable, lists: dict[str, pa.ListArray]) -> Bucket:
    """The same users as a bucket of a corpus."""
    users = pa.array([f"user-{i}" for i in range(len(lists["items"]))])
    return Bucket(
        users,
        hash_ids(users),
        lists["items"].offsets.to_numpy().astype(np.int64),
        table.index_of(lists["items"].values),
        lists["timestamps"].values.cast(pa.int64()).to_numpy(),
        {name: side_values(lists[name].values) for name in FIELDS}
        | {"user.town": np.repeat(profile_hashes(TOWNS), lists["items"].value_lengths().to_numpy())},
    )


def small(name: str) -> Recipe:
    recipe = recipes.recipe(name)
    backbone = recipe.encoder.backbone
    heads = {"num_heads": 2} if hasattr(backbone, "num_heads") else {}
    update = {"width": WIDTH, "backbone": backbone.model_copy(update=heads)}
    return recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update=update)})


def with_encoder(name: str = "sasrec", **changes: object) -> Recipe:
    recipe = small(name)
    return recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update=changes)})


VARIANTS = [*(pytest.param(small(name), id=name) for name in RECIPES)]
VARIANTS += [
    pytest.param(with_encoder(context=("gap", "event", "category", "price")), id="sasrec with fields"),
    pytest.param(with_encoder(readout="max"), id="sasrec at max"),
    pytest.param(with_encoder(readout="attention"), id="sasrec at attention"),
    pytest.param(with_encoder(profile=("town",)), id="sasrec with a profile"),
    pytest.param(with_encoder("userbert_rakuten", profile=("town",)), id="userbert_rakuten with a profile"),
]


@pytest.mark.parametrize("recipe", VARIANTS)
def test_encode_export_and_evaluation_agree(table, lists, recipe):
    torch.manual_seed(0)
    graph = GRAPH if recipe.encoder.backbone.kind == "gnn" else None
    encoder = build_encoder(recipe.encoder, table, MAX_LEN, recipe.objective.hides_items(), graph).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    bucket = stored(table, lists)
    until = int(bucket.timestamps_N.max())
    moment = lists["timestamps"].values[int(bucket.timestamps_N.argmax())].as_py()
    assert microseconds(moment) == until
    exported_UF = bucket_vectors(encoder, bucket, until, 64)
    assert np.abs(exported_UF).max() > 0.01
    np.testing.assert_allclose(read_vectors(encoder, sequences_of(bucket)), exported_UF, atol=1e-5)
    fields = {name: lists[name] for name in recipe.encoder.context if name in FIELDS}
    fields |= {"town": TOWNS} if encoder.attributes else {}
    found_BF = encoder.encode(lists["items"], lists["timestamps"], moment, fields=fields)
    np.testing.assert_allclose(found_BF, exported_UF, atol=1e-5)
    if fields:
        with pytest.raises(UserError, match=rf"reads the {next(iter(fields))} of .*fields="):
            encoder.encode(lists["items"], lists["timestamps"], moment)
    without_times = {"until": moment, "fields": fields}
    if recipe.encoder.tempo or recipe.encoder.context or recipe.encoder.backbone.kind == "hstu":
        with pytest.raises(UserError, match="reads when interactions were"):
            encoder.encode(lists["items"], **without_times)
    else:  # what was not asked for changes nothing
        np.testing.assert_array_equal(encoder.encode(lists["items"], **without_times), found_BF)
