"""Does a user vector add to what is known of a user anyway? Boosted trees on one, on the other, and on both.

Trees take columns of any scale, missing values and what columns mean together, which a linear model would have to be
told. They make less than it does of many numbers that each say a little: another model may gain more by the vector.

Shapes: U users, F features, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from ray_userrep.transfer.tasks.columns import UserColumns
from ray_userrep.transfer.tasks.label_baselines import trees

COLUMNS, FUSED, VECTOR = "own columns", "own columns and vector", "vector"


def fused(
    own: UserColumns,
    vectors_UF: NDArray[np.float64],
    labels_U: NDArray[np.float64],
    bounds: NDArray[np.int64],
    num_classes: int,
) -> dict[str, NDArray[np.float64]]:
    """What each predicts of the last users, by name; `bounds` and `labels_U` as in `trees`."""
    both = own.with_numbers(VECTOR, vectors_UF)
    return {
        COLUMNS: trees(own.values_UF, labels_U, bounds, num_classes, own.is_class_F),
        FUSED: trees(both.values_UF, labels_U, bounds, num_classes, both.is_class_F),
        VECTOR: trees(vectors_UF, labels_U, bounds, num_classes),
    }
