"""One heap for all threads of a worker, that gives back what it once needed when that is known to be over.

All of it is for glibc, by the numbers of its malloc.h; with another C library nothing is done.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_libc = ctypes.CDLL(None)


def share_one_heap() -> None:
    """Make all threads allocate from one heap, which keeps its memory; call it before there are threads.

    glibc gives every thread a heap of its own and keeps in each what it once needed, so that a worker which takes over
    partitions, now on this thread and now on that, grows each time. And it returns the arrays of each poll to the
    system, which has to clear the pages again for the next.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_ARENA_MAX, 1)
        _libc.mallopt(_MMAP_THRESHOLD, 32 * 1024 * 1024)  # the most that it takes
        _libc.mallopt(_TRIM_THRESHOLD, 1024 * 1024 * 1024)


def return_unused() -> None:
    """Give the system back what the heap holds and nobody uses; takes milliseconds."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
