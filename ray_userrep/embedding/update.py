"""Vectors of yesterday brought up to date: what was appended since is read, and nothing else.

What is stored of each user is a few hundred numbers to which new interactions add (`UserEncoder.encode_sums`). A user
of whom interactions arrived late, of a day before the newest that is stored, is read anew and counted: that is dear,
and right.

Shapes: U users of a bucket, S numbers stored of a user.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket, Corpus, open_corpus
from ray_userrep.embedding.tables import newest
from ray_userrep.encoder.histories import history_sums
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS


class Remembered(NamedTuple):
    """What is stored of the users of a bucket: ids, numbers of interactions, the newest, `[U]`, and sums, `[U, S]`."""

    user_ids: pa.Array
    lengths_U: NDArray[np.int64]
    newest_U: pa.Array
    sums_US: NDArray[np.float32]
    num_reread: int = 0  # users of whom interactions arrived late


def remembered(encoder: UserEncoder, bucket: Bucket, batch_tokens: int) -> Remembered:
    """That of users whose histories are read."""
    columns = {TIMESTAMPS: bucket.timestamps_N}
    sums_US = history_sums(encoder, bucket.items_N, bucket.lengths_U, columns, batch_tokens)
    return Remembered(bucket.user_ids, bucket.lengths_U, newest(bucket), sums_US)


def read_remembered(uri: str) -> Remembered:
    """That of a file that was written with sums."""
    table = storage.read_parquet(uri, ["user_id", "interactions", "newest", "sums"]).combine_chunks()
    sums = table["sums"].combine_chunks()
    sums_US = sums.flatten().to_numpy().reshape(-1, sums.type.list_size)
    user_ids, newest_U = (table[name].combine_chunks() for name in ("user_id", "newest"))
    return Remembered(user_ids, table["interactions"].to_numpy(), newest_U, sums_US)


def brought_up_to_date(
    encoder: UserEncoder, stored: Remembered, appended: Bucket, whole: Callable[[], Bucket], batch_tokens: int
) -> Remembered:
    """What is stored with a bucket's appended interactions; `whole` reads all of the bucket, where some came late."""
    new = remembered(encoder, appended, batch_tokens)
    place_U = pc.fill_null(pc.index_in(new.user_ids, value_set=stored.user_ids), -1).to_numpy(zero_copy_only=False)
    is_new_U = place_U < 0
    rows_U = np.where(is_new_U, len(stored.user_ids) + np.cumsum(is_new_U) - 1, place_U)
    user_ids = pa.concat_arrays([stored.user_ids, new.user_ids.filter(pa.array(is_new_U))])
    missing = (0, int(is_new_U.sum()))
    sums_US = np.pad(stored.sums_US, (missing, (0, 0)))
    lengths_U = np.pad(stored.lengths_U, missing)
    newest_U = np.pad(_microseconds(stored.newest_U), missing)
    is_late_U = ~encoder.follows(sums_US[rows_U], new.sums_US)
    sums_US[rows_U] = encoder.add_sums(sums_US[rows_U], new.sums_US)
    lengths_U[rows_U] += new.lengths_U
    newest_U[rows_U] = np.maximum(newest_U[rows_U], _microseconds(new.newest_U))
    if is_late_U.any():
        late = _some(whole(), new.user_ids.filter(pa.array(is_late_U)))
        place = pc.index_in(late.user_ids, value_set=user_ids).to_numpy(zero_copy_only=False)
        sums_US[place] = remembered(encoder, late, batch_tokens).sums_US
    return Remembered(user_ids, lengths_U, pa.array(newest_U, stored.newest_U.type), sums_US, int(is_late_U.sum()))


def appended_since(corpus: Corpus, version: int, asked: str) -> Corpus:
    """The corpus with only what appends have added to an older version; items and users are the newest.

    Errors name the field that `asked` for it.

    Raises:
        UserError: what was there then is not all there now: files were compacted, or old interactions dropped.
    """
    older, now = open_corpus(corpus.uri, version).manifest, corpus.manifest
    gone = older.sequences.without(now.sequences)
    if len(gone) or now.num_capped:
        reason = "was compacted or prepared anew" if len(gone) else "keeps only the newest interactions of each user"
        raise UserError(
            f"{asked} is of version {version} of {corpus.uri}, which {reason} since: embed version "
            f"{now.version} without {asked}"
        )
    return Corpus(corpus.uri, now.model_copy(update={"sequences": now.sequences.without(older.sequences)}))


def _microseconds(times_U: pa.Array) -> NDArray[np.int64]:
    return np.array(times_U.cast(pa.int64()).fill_null(0))


def _some(bucket: Bucket, user_ids: pa.Array) -> Bucket:
    rows = pc.index_in(user_ids, value_set=bucket.user_ids).to_numpy(zero_copy_only=False).astype(np.int64)
    return bucket.heads(rows, bucket.lengths_U[rows])
