"""Hashes of ids: fixed for all time, and independent of what else is in the array."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.hashing import bucket_of, hash_ids


def test_the_hashes_of_whole_numbers_are_those_of_splitmix64():
    reference = [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]  # first outputs for the seeds 0 and 1
    assert hash_ids(pa.array([0, 1])).view(np.uint64).tolist() == reference


def test_the_hashes_of_text_never_change():
    known = {
        "": 1760245841805064774,
        "a": -4496393130729816112,
        "é": -1537934940950697753,
        "17850": 7524736792686354159,
    }
    assert hash_ids(pa.array(list(known))).tolist() == list(known.values())


@pytest.mark.parametrize("ids", [st.integers(-(2**63), 2**63 - 1), st.text(max_size=5)])
def test_a_hash_depends_on_its_id_alone(ids):
    @given(st.lists(st.lists(ids, min_size=1), min_size=1))
    def check(blocks):
        kind = pa.int64() if isinstance(blocks[0][0], int) else pa.string()
        together = hash_ids(pa.chunked_array([pa.array(block, kind) for block in blocks]))
        alone = [hash_ids(pa.array([one], kind))[0] for block in blocks for one in block]
        assert together.tolist() == alone

    check()


def test_neighbouring_large_numbers_differ_and_buckets_fill_evenly():
    hashes = hash_ids(pa.array(np.arange(2**53, 2**53 + 8000)))
    assert len(set(hashes.tolist())) == 8000
    counts = np.bincount(bucket_of(hashes, 8), minlength=8)
    assert counts.sum() == 8000 and abs(counts - 1000).max() < 150  # five standard deviations
