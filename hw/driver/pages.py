"""Keeps account of the pages of a reserved memory."""

import numpy as np

from hw.contract.isa import PAGE_BYTES
from hw.driver.bus import Buffer, BusError

__all__ = ["PagedBuffer", "Pages"]


class Pages:
    """Hands out whole pages of ``size`` bytes of memory, from the front, and takes them back.

    Parameters
    ----------
    size : int
        Bytes; an incomplete last page is not used.
    what : str
        Name of the memory in errors.
    """

    def __init__(self, size: int, what: str):
        self._size = size // PAGE_BYTES * PAGE_BYTES
        self._what = what
        #: First byte of what is taken -> first byte behind it.
        self._taken: dict[int, int] = {}

    def take(self, size: int) -> tuple[int, int]:
        """Takes pages for ``size`` bytes. Returns their first byte, and the first byte behind them.

        Raises :class:`BusError` if no gap is large enough.
        """
        wanted = -(-size // PAGE_BYTES) * PAGE_BYTES
        begin = 0
        for taken, behind in sorted(self._taken.items()):
            if begin + wanted <= taken:
                break
            begin = behind
        if begin + wanted > self._size:
            free = self._size - sum(end - start for start, end in self._taken.items())
            raise BusError(
                f"{self._what} must have {wanted} bytes free in one piece, "
                f"but has {free} of {self._size} free; remedy: close drivers that are not in use, "
                "or more memory"
            )
        self._taken[begin] = begin + wanted
        return begin, begin + wanted

    def give_back(self, begin: int) -> None:
        """Frees the pages that begin there. Does nothing if they are free already."""
        self._taken.pop(begin, None)


class PagedBuffer(Buffer):
    """A buffer on such pages, which are given back when it is freed.

    Parameters
    ----------
    pages : Pages
    begin : int
        What :meth:`Pages.take` gave.
    array, address
        As for a :class:`Buffer`.
    """

    def __init__(self, pages: Pages, begin: int, array: np.ndarray, address: int):
        super().__init__(array, address)
        self._pages: Pages | None = pages
        self._begin = begin

    def free(self) -> None:
        # Only the first call does something: later the pages may be another buffer's.
        if self._pages is not None:
            self._pages.give_back(self._begin)
            self._pages = None
