"""Vectors for the challenge: the arrays that its validator asks for, row by row those of the users."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.embedding.submission import write_submission
from ray_userrep.embedding.tables import lists
from ray_userrep.errors import UserError


def write(folder, ids, width=8):
    """Two files of vectors and what lies beside them; returns the vectors by id."""
    vectors_UF = np.random.default_rng(0).normal(size=(len(ids), width)).astype(np.float32)
    for number, rows in enumerate(np.array_split(np.arange(len(ids)), 2)):
        table = pa.table({"user_id": pa.array(ids).take(pa.array(rows)), "vector": lists(vectors_UF[rows])})
        storage.write_parquet(f"{folder}/bucket-{number:05d}.parquet", table)
    storage.write_parquet(f"{folder}/_items.parquet", pa.table({"item_id": [1]}))
    return dict(zip(ids, vectors_UF, strict=True))


def test_ids_and_vectors_are_rows_of_two_arrays(tmp_path):
    expected = write(tmp_path / "vectors", [5, 3, 2**40, 8, 1])
    assert write_submission(str(tmp_path / "vectors"), str(tmp_path / "out")) == (5, 8)
    ids_U, vectors_UF = (np.load(tmp_path / "out" / name) for name in ("client_ids.npy", "embeddings.npy"))
    assert ids_U.dtype == np.int64 and vectors_UF.dtype == np.float16 and sorted(ids_U) == sorted(expected)
    for user, vector_F in zip(ids_U.tolist(), vectors_UF, strict=True):
        np.testing.assert_array_equal(vector_F, expected[user].astype(np.float16))


@pytest.mark.parametrize(
    ("ids", "width", "message"),
    [
        (["a", "b"], 4, "a whole number as id"),
        ([1, 1], 4, "not one of each user"),
        ([1, 2], 2049, r"2,049 numbers; the challenge takes 2,048"),
    ],
)
def test_what_the_challenge_does_not_take_is_refused(tmp_path, ids, width, message):
    write(tmp_path / "vectors", ids, width)
    with pytest.raises(UserError, match=message):
        write_submission(str(tmp_path / "vectors"), str(tmp_path / "out"))
