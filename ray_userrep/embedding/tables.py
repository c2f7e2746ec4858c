"""The rows that go out for a bucket: which users, as of which days, and in which columns.

A vector as of a day is made of what lies before it, and of nothing else: the bucket is cut before the encoder sees it.

Shapes: U users of a bucket, N interactions of all of them, F width of a user vector.
"""

import datetime as dt
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat

FORMAT = 1  # of a folder of vectors, in its summary: what a later one holds cannot be read here
Precision = Literal["float32", "float16"]
_NUMBERS: dict[Precision, pa.DataType] = {"float32": pa.float32(), "float16": pa.float16()}
_TIME = pa.timestamp("us", "UTC")


def moment_of(day: dt.date) -> int:
    """The first moment of a day (us), in UTC."""
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()) * 10**6


def before(bucket: Bucket, moment: int) -> Bucket:
    """What lies before a moment (us), of the users who have anything there."""
    lengths_U = bucket.counts(bucket.timestamps_N < moment)
    rows = np.flatnonzero(lengths_U)
    return bucket.heads(rows, lengths_U[rows])


def only(bucket: Bucket, user_ids: pa.Array) -> Bucket:
    """The users of a bucket who are among these."""
    rows = np.flatnonzero(pc.is_in(bucket.user_ids, value_set=user_ids).to_numpy(zero_copy_only=False))
    return bucket.heads(rows, bucket.lengths_U[rows])


def read_users(uri: str, corpus: Corpus, asked: str) -> pa.Array:
    """The ids in the column `user_id` of a file or folder, as the corpus has them.

    Errors name the field that `asked` for them.

    Raises:
        UserError: there is no such file or column, or an id is of another type than the log's.
    """
    table = read_whole(storage.list_files(uri), CsvFormat())
    if "user_id" not in table.column_names:
        names = ", ".join(table.column_names)
        raise UserError(f"{asked}: {uri} has no column user_id; it has {names}: call the column of the ids so")
    return keyed(table, "user_id", corpus.user_type, uri)["user_id"].combine_chunks()


def vectors_table(
    encoder: UserEncoder, bucket: Bucket, until: int | None, batch_tokens: int, precision: Precision
) -> pa.Table:
    """The vectors of a bucket's users as of a moment (us), of how many interactions they are made, and the newest.

    The moment is None where the log has no times: there is no newest then.
    """
    vectors_UF = bucket_vectors(encoder, bucket, until, batch_tokens)
    return pa.table(
        {
            "user_id": bucket.user_ids,
            "vector": lists(vectors_UF, precision),
            "interactions": bucket.lengths_U,
            "newest": pa.nulls(bucket.num_users, _TIME) if until is None else newest(bucket),
        }
    )


def bucket_vectors(encoder: UserEncoder, bucket: Bucket, until: int | None, batch_tokens: int) -> NDArray[np.float32]:
    """The vectors of a bucket's users as of a moment (us), `[U, F]`."""
    return user_vectors(encoder, bucket.items_N, bucket.lengths_U, _columns(bucket), until, batch_tokens)


def next_items_table(
    encoder: UserEncoder, bucket: Bucket, until: int | None, k: int, exclude_seen: bool, batch_tokens: int
) -> pa.Table:
    """The `k` likeliest next items of a bucket's users, best first, as lists of `items` and `scores`."""
    found = encoder.next_items(bucket.items_N, bucket.lengths_U, _columns(bucket), k, exclude_seen, batch_tokens)
    return found.add_column(0, "user_id", bucket.user_ids)


def _columns(bucket: Bucket) -> dict[str, NDArray[np.generic]]:
    return {TIMESTAMPS: bucket.timestamps_N} | bucket.side_N


def newest(bucket: Bucket) -> pa.Array:
    """The time of each user's newest interaction, `[U]`; null where there is none."""
    is_there_U = bucket.lengths_U > 0
    last_U = bucket.offsets_U1[1:] - 1
    times_U = np.where(is_there_U, bucket.timestamps_N[last_U.clip(min=0)] if len(bucket.timestamps_N) else 0, 0)
    return pa.array(times_U, _TIME, mask=~is_there_U)


def lists(x_UF: NDArray[np.float32], precision: Precision = "float32") -> pa.FixedSizeListArray:
    """Rows of numbers as a column."""
    numbers = pa.array(x_UF.reshape(-1).astype(precision), _NUMBERS[precision])
    return pa.FixedSizeListArray.from_arrays(numbers, x_UF.shape[1])


def items_table(encoder: UserEncoder, precision: Precision) -> pa.Table:
    """The vectors whose products with a user's state score the items, and how often those occur."""
    table = encoder.item_table
    assert table is not None, "it is that of the corpus"
    with torch.inference_mode():
        vectors_VF = encoder.items(None).float().cpu().numpy()
    return pa.table({"item_id": table.ids, "vector": lists(vectors_VF, precision), "count": table.counts()})
