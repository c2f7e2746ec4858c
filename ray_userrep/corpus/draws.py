"""Counter-based random numbers and stable hashes of ids, both by SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).

A draw depends on what it is for, never on who draws it or when. A hash of (seed, epoch, ...) is a little slower than a
generator's stream and needs no state: a resumed or re-sharded run draws the same numbers. The hash of an id is the same
on every machine, in every version, for every block that the id appears in.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_ALL = 2**64 - 1


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser, elementwise and wrapping."""
    with np.errstate(over="ignore"):
        z = (x + _GAMMA).astype(np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def bits(*keys: int | NDArray[np.integer]) -> NDArray[np.uint64]:
    """64 random bits for each combination of the broadcast keys."""
    first = next((place for place, key in enumerate(keys) if isinstance(key, np.ndarray)), len(keys))
    state = np.array(_bits_of(keys[:first]), np.uint64)
    for key in keys[first:]:
        state = splitmix64(state ^ splitmix64(np.asarray(key).astype(np.int64).view(np.uint64)))
    return state


def _bits_of(keys: Iterable[Any]) -> int:
    """Of single numbers, a tenth of the time that arrays take."""
    state = 0
    for key in keys:
        state = _splitmix64(state ^ _splitmix64(int(key) & _ALL))
    return state


def _splitmix64(x: int) -> int:
    z = (x + int(_GAMMA)) & _ALL
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL
    return z ^ (z >> 31)


def uniforms(*keys: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) for each combination of the broadcast keys."""
    return (bits(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_of(*keys: int) -> int:
    """A 63-bit seed for a library's own generator."""
    return int(bits(*keys) >> np.uint64(1))


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
