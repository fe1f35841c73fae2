"""How the C library keeps memory that tensors have given back."""

import ctypes

__all__ = ["keep_freed_memory"]

#: Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes. Older versions refuse a threshold of mmap above the second number.
_LARGE, _ACCEPTED = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Lets this process keep up to 1 GiB of freed memory for what comes next.

    Without this, the memory of every large tensor goes back to the system and comes again page by
    page. That takes a twentieth of a training step on a CPU. A C library other than glibc is left
    as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _ACCEPTED):
        mallopt(_TRIM_THRESHOLD, _LARGE)
