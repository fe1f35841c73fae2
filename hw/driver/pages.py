"""Which pages of a reserved memory are taken."""

from hw.contract.isa import PAGE_BYTES
from hw.driver.bus import BusError

__all__ = ["Pages"]


class Pages:
    """Hands out whole pages of ``size`` bytes of memory, from the front, and takes them back.

    Parameters
    ----------
    size : int
        Bytes; what is left of the last page is not used.
    what : str
        Names the memory in errors.
    """

    def __init__(self, size: int, what: str):
        self._size = size // PAGE_BYTES * PAGE_BYTES
        self._what = what
        #: First byte -> first byte behind.
        self._taken: dict[int, int] = {}

    def take(self, size: int) -> tuple[int, int]:
        """First byte, and first byte behind, of pages for ``size`` bytes.

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
                f"but has {free} of {self._size} free"
            )
        self._taken[begin] = begin + wanted
        return begin, begin + wanted

    def give_back(self, begin: int) -> None:
        """Frees what begins there; nothing happens if it is free already."""
        self._taken.pop(begin, None)
