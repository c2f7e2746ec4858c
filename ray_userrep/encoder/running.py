"""What a window holds so far at each of its tokens: running sums and maxima over jagged windows.

They grow by doubling spans inside each window: more work than one running sum over the whole batch, which would carry
the rounding of every window into those behind it.

Shapes: T tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def running(join: Callable[[Tensor, Tensor], Tensor], x_TD: Tensor, place_T: Tensor, max_len: int) -> Tensor:
    """What `join` makes of each token and those before it in its window, `[T, D]` (Hillis and Steele 1986).

    A span doubles until it covers any window: `join` must not care how its arguments are grouped.
    """
    span = 1
    while span < max_len:
        is_inside_T1 = (place_T >= span)[span:, None]
        joined_TD = torch.where(is_inside_T1, join(x_TD[span:], x_TD[:-span]), x_TD[span:])
        x_TD = torch.cat([x_TD[:span], joined_TD])
        span *= 2
    return x_TD
