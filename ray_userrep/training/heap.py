"""What is freed stays with the process, for the next tensor.

glibc gives large blocks back to the system at once, and asking for them again costs a fault a page: some percent of a
step (`benchmarks/heap.py`), a quarter where tensors as large as the square of a batch are made anew. Kept, a process
stays as large as it once was, which is what a worker needs for the next step anyway. Other libraries of C have no such
switch, and are left alone.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
_LARGE = 2**30  # bytes


def keep_freed_memory() -> None:
    """Let blocks below a gigabyte come from the heap, and the heap not shrink."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for threshold in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(threshold, _LARGE)
