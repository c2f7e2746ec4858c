"""Which kernels a tensor is given: those for processors or those for GPUs.

It is asked in one place, so that what a GPU would be given can be traced, counted and held to the other without one.
"""

from torch import Tensor


def on_gpu(x: Tensor) -> bool:
    """Whether a tensor is given the kernels of GPUs."""
    return x.is_cuda
