"""Counter-based draws and hashes of ids: reference values, independence of order, uniformity."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ray_userrep.corpus import draws
from ray_userrep.corpus.draws import bucket_of, hash_ids


def splitmix64(state):
    """The published algorithm in Python integers."""
    mask = 2**64 - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_mix_is_splitmix64():
    states = [0, 1, 2**63, 2**64 - 1]
    assert draws.splitmix64(np.array(states, np.uint64)).tolist() == [splitmix64(s) for s in states]
    assert splitmix64(0) == 0xE220A8397B1DCDAF


def test_a_draw_depends_only_on_its_keys():
    positions = np.arange(1000)
    whole = draws.uniforms(3, 1, positions)
    assert np.array_equal(whole[200:300], draws.uniforms(3, 1, positions[200:300]))
    assert not np.array_equal(whole, draws.uniforms(3, 2, positions))
    assert draws.uniforms(-1, 5) == draws.uniforms(-1, 5)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
def test_single_numbers_draw_what_arrays_of_them_do(keys):
    assert draws.bits(*keys) == draws.bits(*(np.array([key]) for key in keys))[0]


def test_draws_are_uniform_and_neighbouring_keys_are_uncorrelated():
    x = draws.uniforms(0, np.arange(100_000))
    assert stats.kstest(x, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.02


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
