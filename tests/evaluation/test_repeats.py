"""Which items come again."""

import numpy as np

from ray_userrep.evaluation.repeats import are_repeats


def test_a_repeat_is_an_item_of_the_history_before_it():
    lengths = np.array([3, 0, 2, 1])
    found = are_repeats(np.array([7, 7, 4, 9]), np.array([1, 7, 2, 7, 5, 9]), lengths)
    assert found.tolist() == [True, False, False, True]
