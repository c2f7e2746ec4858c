"""Indexes of vectors, beside all cosines sorted."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.cli import main
from ray_userrep.embedding import indexing
from ray_userrep.embedding.index import VectorIndex
from ray_userrep.embedding.indexing import build_index
from ray_userrep.embedding.tables import lists
from ray_userrep.encoder.folder import fingerprint
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import IndexConfig


@pytest.fixture
def encoder(tmp_path) -> str:
    """A folder with weights, such as a fingerprint is taken of."""
    storage.write_bytes(f"{tmp_path}/encoder/model.safetensors", b"weights")
    return f"{tmp_path}/encoder"


def write_vectors(folder: str, encoder: str, x_NF: np.ndarray, until: object = 5, items: bool = False) -> list[str]:
    """What embed leaves, in two files; returns the users."""
    users = [f"u{row}" for row in range(len(x_NF))]
    for number, rows in enumerate(np.array_split(np.arange(len(x_NF)), 2)):
        table = pa.table({"user_id": [users[row] for row in rows], "vector": lists(x_NF[rows], "float16")})
        storage.write_parquet(f"{folder}/bucket-{number:05d}.parquet", table, dictionary=False)
    if items:
        table = pa.table({"item_id": np.arange(len(x_NF)), "vector": lists(x_NF), "count": np.ones(len(x_NF), int)})
        storage.write_parquet(f"{folder}/_items.parquet", table)
    about = {"encoder": encoder, "encoder_fingerprint": fingerprint(encoder), "corpus": "c", "corpus_version": 1}
    storage.write_json(f"{folder}/_vectors.json", about | {"rows": len(x_NF), "until": until})
    return users


def clustered(number: int, width: int = 8) -> np.ndarray:
    """Vectors around thirty centres, of float16."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(30, width))[rng.integers(30, size=number)] + 0.3 * rng.normal(size=(number, width))
    return drawn.astype(np.float16).astype(np.float32)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


def test_of_few_vectors_the_nearest_are_those_of_a_sort(tmp_path, encoder):
    x_NF = clustered(300)
    users = write_vectors(f"{tmp_path}/vectors", encoder, x_NF)
    about = build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig())
    assert (about["form"], about["recall@10"], about["number"]) == ("Flat", 1.0, 300)
    index = VectorIndex.open(f"{tmp_path}/index", encoder)
    asked = np.random.default_rng(1).normal(size=(4, 8))
    found = index.nearest(asked, 5)
    scores = cosines(asked, x_NF)
    assert found["users"].to_pylist() == [[users[row] for row in np.argsort(-line)[:5]] for line in scores]
    np.testing.assert_allclose(found["scores"].to_pylist(), -np.sort(-scores, axis=1)[:, :5], atol=1e-5)
    own = cosines(x_NF[[7, 2]], x_NF)
    own[[0, 1], [7, 2]] = -9
    alike = index.nearest_users(["u7", "u2"], 3)
    assert alike["user_id"].to_pylist() == ["u7", "u2"]
    assert alike["users"].to_pylist() == [[users[row] for row in np.argsort(-line)[:3]] for line in own]


@pytest.mark.parametrize(("full", "form"), [(10**6, "Flat"), (1000, "SQfp16")])
def test_of_many_as_many_of_the_true_ones_are_found_as_was_asked_for(monkeypatch, tmp_path, encoder, full, form):
    monkeypatch.setattr(indexing, "_FLAT", 500)
    monkeypatch.setattr(indexing, "_FULL", full)
    x_NF = clustered(4000)
    users = write_vectors(f"{tmp_path}/vectors", encoder, x_NF)
    about = build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig(recall=0.9))
    assert about["form"] == f"IVF253,{form}" and about["recall@10"] > 0.87 and 1 < about["lists_read"] < 253
    index = VectorIndex.open(f"{tmp_path}/index")
    rows = np.arange(0, 4000, 20)
    true = cosines(x_NF[rows], x_NF)
    true[np.arange(len(rows)), rows] = -9
    found = index.nearest_users([users[row] for row in rows], 10)["users"].to_pylist()
    best = np.argsort(-true, axis=1)[:, :10]
    shares = [len({*got} & {users[row] for row in want}) / 10 for got, want in zip(found, best, strict=True)]
    assert abs(np.mean(shares) - about["recall@10"]) < 0.04
    assert not any(users[row] in got for row, got in zip(rows, found, strict=True))


def test_from_the_command_line(tmp_path, encoder, capsys):
    write_vectors(f"{tmp_path}/vectors", encoder, clustered(60))
    main(["index", f"{tmp_path}/vectors", "--output", f"{tmp_path}/index", "--recall", "0.5"])
    told = capsys.readouterr().out
    assert "60 users, width 8, Flat" in told and "1.000 of the true ten nearest, over 30 queries" in told
    assert len(VectorIndex.open(f"{tmp_path}/index")) == 60


def test_items_have_an_index_of_their_own(tmp_path, encoder):
    write_vectors(f"{tmp_path}/vectors", encoder, clustered(60), items=True)
    build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig(of="items"))
    index = VectorIndex.open(f"{tmp_path}/index")
    assert index.nearest_items([3], 2)["items"].type.value_type == pa.int64()
    with pytest.raises(UserError, match=r"index of items, not of users: build another with --of users"):
        index.nearest_users(["u1"])


def test_what_cannot_be_answered_is_refused(tmp_path, encoder):
    write_vectors(f"{tmp_path}/vectors", encoder, clustered(60))
    build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig())
    storage.write_bytes(f"{tmp_path}/other/model.safetensors", b"other weights")
    with pytest.raises(UserError, match=r"of vectors of another encoder .* than .*/other: embed with this one"):
        VectorIndex.open(f"{tmp_path}/index", f"{tmp_path}/other")
    index = VectorIndex.open(f"{tmp_path}/index")
    with pytest.raises(UserError, match=r"takes rows of 8 numbers \(given an array of shape \(2, 3\)\)"):
        index.nearest([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(UserError, match=r"k: takes 1 to 60, as many as there are"):
        index.nearest(np.zeros((1, 8)), 61)
    with pytest.raises(UserError, match=r"user_id 'nobody' is not among the 60 of the index"):
        index.nearest_users(["u1", "nobody"])
    with storage.local_file(f"{tmp_path}/index/index.faiss") as path:
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"is not whole: index.faiss was changed"):
        VectorIndex.open(f"{tmp_path}/index")
    with pytest.raises(UserError, match=r"name the output folder of an index that ended"):
        VectorIndex.open(f"{tmp_path}/vectors")


def test_what_cannot_be_indexed_is_refused(tmp_path, encoder):
    with pytest.raises(UserError, match=r"name the output folder of an embed that ended"):
        build_index(f"{tmp_path}/nowhere", f"{tmp_path}/index", IndexConfig())
    write_vectors(f"{tmp_path}/vectors", encoder, clustered(60), until=[1, 2])
    with pytest.raises(UserError, match=r"vectors as of 2 days: embed with one embedding.until"):
        build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig())
    write_vectors(f"{tmp_path}/vectors", encoder, clustered(60))
    with pytest.raises(UserError, match=r"has no vectors of items: embed with embedding.items true"):
        build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig(of="items"))
    with pytest.raises(UserError, match=r"is not empty: name another with --output"):
        build_index(f"{tmp_path}/vectors", f"{tmp_path}/vectors", IndexConfig())
