"""Samples are taken by hashes read backwards, so that buckets follow one another, whatever power of two they are."""

import numpy as np
import pytest

from ray_userrep.corpus.draws import bucket_of
from ray_userrep.corpus.sampling import follow_one_another, in_order, order_keys

HASHES = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 2000)


def test_keys_are_the_bits_backwards():
    expected = [int(f"{hash_ % 2**64:064b}"[::-1], 2) for hash_ in HASHES.tolist()]
    assert order_keys(HASHES).tolist() == expected


@pytest.mark.parametrize("num_buckets", [1, 2, 8, 256])
def test_users_of_a_bucket_come_before_all_of_the_next(num_buckets):
    assert follow_one_another(num_buckets)
    bucket_U = bucket_of(HASHES, num_buckets)[np.argsort(order_keys(HASHES))]
    seen = bucket_U[np.append(True, bucket_U[1:] != bucket_U[:-1])].tolist()
    assert seen == [bucket for bucket in in_order(num_buckets) if bucket in set(seen)]


@pytest.mark.parametrize("num_buckets", [3, 100])
def test_other_numbers_are_read_as_they_are(num_buckets):
    assert not follow_one_another(num_buckets) and in_order(num_buckets) == list(range(num_buckets))
