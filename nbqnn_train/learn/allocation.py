"""How the C library keeps memory that tensors have given back."""

import ctypes

__all__ = ["keep_freed_memory"]

#: Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes; older versions refuse more than the second as a threshold of mmap.
_LARGE, _ACCEPTED = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Lets this process keep up to 1 GiB of freed memory for what comes next.

    By default the memory of every large tensor goes back to the system and comes again page by
    page, which takes a twentieth of a training step on a CPU. Does nothing where the C library is
    not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _ACCEPTED):
        mallopt(_TRIM_THRESHOLD, _LARGE)
