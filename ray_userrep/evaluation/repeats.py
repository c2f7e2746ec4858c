"""Items that come again: where they are many, a ranking that leaves out items of the history tells less than it seems.

Shapes: U users, N interactions.
"""

import numpy as np
from numpy.typing import NDArray

MANY = 0.1  # of what comes next: from here on it is worth a word that repeats are left out


def are_repeats(
    items_U: NDArray[np.int64], items_N: NDArray[np.int64], lengths_U: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each user's item is one of the history before it, `[U]`; histories lie end to end."""
    user_N = np.repeat(np.arange(len(lengths_U)), lengths_U)
    found: NDArray[np.bool_] = np.bincount(user_N[items_N == items_U[user_N]], minlength=len(lengths_U)) > 0
    return found
