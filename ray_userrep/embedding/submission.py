"""User vectors as the RecSys Challenge 2025 takes them: two NumPy arrays, ids and vectors, row by row.

The challenge's own heads are trained on them, so that its scores and ours are of the same vectors. All are in memory at
once: a million users of 2,048 half-precision numbers are four gigabytes.
"""

import io

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.errors import UserError

IDS, VECTORS = "client_ids.npy", "embeddings.npy"
MOST_COLUMNS = 2048


def write_submission(vectors_uri: str, output_uri: str) -> tuple[int, int]:
    """Write `client_ids.npy` (int64, `[U]`) and `embeddings.npy` (float16, `[U, F]`); returns U and F.

    `vectors_uri` is the output of `embed` for all users, or for the challenge's relevant ones by `embedding.users`.

    Raises:
        UserError: there are no vectors, they are as of several days or too wide, or ids are no whole numbers.
    """
    files = sorted(file.uri for file in storage.list_files(vectors_uri, ".parquet"))
    tables = [storage.read_parquet(uri) for uri in files]
    table = pa.concat_tables(tables) if tables else pa.table({"user_id": pa.array([], pa.int64())})
    if not table.num_rows:
        raise UserError(f"no vectors in {vectors_uri}: name the output folder of embed")
    if not pa.types.is_integer(table["user_id"].type) or len(table["user_id"].unique()) < table.num_rows:
        raise UserError(f"the vectors in {vectors_uri} are not one of each user with a whole number as id")
    vectors_UF = _vectors(table, vectors_uri)
    for name, array in ((IDS, table["user_id"].to_numpy().astype(np.int64)), (VECTORS, vectors_UF)):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        storage.write_bytes(storage.join(output_uri, name), buffer.getvalue())
    return vectors_UF.shape[0], vectors_UF.shape[1]


def _vectors(table: pa.Table, uri: str) -> NDArray[np.float16]:
    column = table["vector"].combine_chunks()
    vectors_UF = column.flatten().to_numpy().reshape(len(column), -1).astype(np.float16)
    if vectors_UF.shape[1] > MOST_COLUMNS:
        raise UserError(
            f"the vectors in {uri} have {vectors_UF.shape[1]:,} numbers; the challenge takes {MOST_COLUMNS:,}"
        )
    if not np.isfinite(vectors_UF).all():
        raise UserError(f"the vectors in {uri} have numbers beyond what float16 holds")
    return vectors_UF
