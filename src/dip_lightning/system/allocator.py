"""Keeping freed memory for the next iteration, on Linux."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["memory_kept"]

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest value of an int: no feature map is returned to the system when it is freed.
_NEVER = 2**31 - 1
# What glibc comes to by itself once blocks of that size have been freed; its own adapting cannot be switched on again.
_USUAL_MMAP, _USUAL_TRIM = 32 * 2**20, 64 * 2**20


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the process keep the memory that is freed inside the ``with`` block, and give it back at its end.

    glibc returns every large block to the system when it is freed, and takes it anew in the next iteration; the system
    then fills each of its pages with zeros. With the same blocks in every iteration, that is time for nothing. Where
    the C library is another one, nothing happens.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield
        return
    mallopt(_MMAP_THRESHOLD, _NEVER)
    mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        gc.collect()
        trim(0)
