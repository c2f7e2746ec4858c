"""Stable 64-bit hashes of ids: the same on every machine, in every version, for every block they appear in."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.draws import splitmix64


def hash_ids(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """A hash of each id, int64 or string; each distinct text of the array is hashed once."""
    if pa.types.is_integer(ids.type):
        return splitmix64(ids.to_numpy().astype(np.int64, copy=False).view(np.uint64)).view(np.int64)
    encoded = ids.combine_chunks().dictionary_encode() if isinstance(ids, pa.ChunkedArray) else ids.dictionary_encode()
    texts = encoded.dictionary.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(texts, categorize=False).view(np.int64)[encoded.indices.to_numpy()]


def bucket_of(hashes: NDArray[np.int64], num_buckets: int) -> NDArray[np.int64]:
    """The bucket of each hash, from 0 to one below their number."""
    return (hashes.view(np.uint64) % np.uint64(num_buckets)).astype(np.int64)
