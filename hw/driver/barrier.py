"""A memory barrier: stores before it are complete before anything after it begins.

Memory that ``/dev/mem`` maps with ``O_SYNC`` is not cached, but processors still collect stores to
it in write buffers. A store to a register may overtake them. The accelerator would then start
before its input is in memory. Python has no barrier, so this module has the two instructions of it.
"""

import ctypes
import mmap
import platform
from collections.abc import Callable
from functools import cache

from hw.driver.bus import BusError

__all__ = ["memory_barrier"]

#: A full barrier and the return from a function, by ``platform.machine()``.
_CODE = {
    # dsb sy; ret
    "aarch64": bytes.fromhex("9f3f03d5 c0035fd6"),
    # dsb sy; bx lr
    "armv7l": bytes.fromhex("4ff07ff5 1eff2fe1"),
    # mfence; ret
    "x86_64": bytes.fromhex("0faef0 c3"),
}


@cache
def memory_barrier() -> Callable[[], None]:
    """The barrier as a function, which is made at the first call.

    Raises :class:`BusError` on a processor whose barrier is not known here, and on a system that
    does not let programs make code.
    """
    machine = platform.machine()
    if machine not in _CODE:
        raise BusError(f"the processor must be one of {', '.join(_CODE)}, not {machine!r}")
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.write(_CODE[machine])
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    # The memory becomes executable only after the write: Linux then cleans the instruction cache.
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        raise BusError("the system must allow executable memory, for a memory barrier")
    function = ctypes.CFUNCTYPE(None)(address)
    # The function keeps the memory of its code alive.
    function.page = page
    return function
