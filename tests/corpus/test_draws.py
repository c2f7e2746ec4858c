"""Counter-based draws: reference values, independence of order, uniformity."""

import numpy as np
from scipy import stats

from ray_userrep.corpus import draws


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


def test_draws_are_uniform_and_neighbouring_keys_are_uncorrelated():
    x = draws.uniforms(0, np.arange(100_000))
    assert stats.kstest(x, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.02
