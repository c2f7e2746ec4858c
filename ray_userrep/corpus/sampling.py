"""Which users are in a sample: the first ones by the bits of their hashes read backwards.

A bucket is the remainder of a user's hash. Where the number of buckets is a power of two that is the hash's lowest
bits, so that the users of a bucket follow one another in this order: a sample is read out of as few buckets as it
fills, and is the same users whatever that power is. With another number of buckets it is still the same users, and all
buckets are read for them.
"""

import numpy as np
from numpy.typing import NDArray

ORDER = "reversed bits"  # in the key of what is stored of a sample
_STEPS = [(1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)]


def order_keys(hash_U: NDArray[np.int64]) -> NDArray[np.uint64]:
    """What users are sampled in the rising order of: the 64 bits of each hash from the lowest to the highest."""
    x_U = hash_U.view(np.uint64).byteswap()
    for shift, mask in _STEPS:
        x_U = (x_U >> np.uint64(shift)) & np.uint64(mask) | (x_U & np.uint64(mask)) << np.uint64(shift)
    return x_U


def follow_one_another(num_buckets: int) -> bool:
    """Whether the users of one bucket come before all of the next, as `in_order` has them."""
    return num_buckets & (num_buckets - 1) == 0


def in_order(num_buckets: int) -> list[int]:
    """The buckets in the order in which a sample reads them."""
    buckets = np.arange(num_buckets)
    return np.argsort(order_keys(buckets)).tolist() if follow_one_another(num_buckets) else buckets.tolist()
