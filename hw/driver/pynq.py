"""An accelerator in the same chip as the processors that run the driver: through PYNQ."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw.contract.isa import PAGE_BYTES
from hw.driver.bus import Buffer, BusError
from hw.driver.interrupt import Interrupt, PolledInterrupt

if TYPE_CHECKING:
    import pynq

__all__ = ["PynqBus"]


class PynqBus:
    """A :class:`hw.driver.Bus` on a board with PYNQ.

    Parameters
    ----------
    overlay : Path, str or pynq.Overlay
        The ``.xsa``, or the ``.bit`` with its ``.hwh`` beside it, which is then loaded; or an
        overlay that is loaded already.
    name : str
        The accelerator's cell in the block design.
    interrupt : Interrupt, optional
        How to wait; registers are polled if there is none.
    time_limit_s : float
        Longest wait for the interrupt.

    Raises
    ------
    BusError
        PYNQ is not installed or cannot be imported, the overlay cannot be loaded or has no such
        cell with registers, or they may not be accessed.
    """

    def __init__(
        self,
        overlay: "Path | str | pynq.Overlay",
        *,
        name: str = "accelerator",
        interrupt: Interrupt | None = None,
        time_limit_s: float = 10.0,
    ):
        try:
            import pynq
        except ModuleNotFoundError:
            raise BusError(
                "the board's bus needs pynq, which is not installed here; it comes with the "
                "board's PYNQ image"
            ) from None
        # Such as a NumPy that PYNQ's own parts were not built for.
        except ImportError as error:
            raise BusError(f"pynq cannot be imported: {error}") from None
        self._pynq: Any = pynq
        if isinstance(overlay, (str, Path)):
            if not Path(overlay).is_file():
                raise BusError(f"overlay {str(overlay)!r} must be a file, but is not there")
            # PYNQ raises whatever its parser, its device or the kernel raised.
            try:
                overlay = pynq.Overlay(str(overlay))
            except Exception as error:
                raise BusError(f"the overlay cannot be loaded: {error}") from error
        if name not in overlay.ip_dict:
            raise BusError(
                f"the overlay must have a cell {name!r}, but has "
                f"{', '.join(sorted(overlay.ip_dict)) or 'none'}"
            )
        place = overlay.ip_dict[name]
        if "phys_addr" not in place or "addr_range" not in place:
            raise BusError(f"cell {name!r} of the overlay must have registers, but has none")
        try:
            self._registers = pynq.MMIO(place["phys_addr"], place["addr_range"])
        except (OSError, RuntimeError) as error:
            raise BusError(
                f"the registers at {place['phys_addr']:#x} cannot be accessed: {error}"
            ) from None
        self._interrupt = interrupt or PolledInterrupt(self.read)
        self._time_limit_s = time_limit_s

    def read(self, offset: int) -> int:
        return int(self._registers.read(offset))

    def write(self, offset: int, value: int) -> None:
        self._registers.write(offset, value)

    def allocate(self, size: int) -> Buffer:
        whole = -(-size // PAGE_BYTES) * PAGE_BYTES
        try:
            memory = self._pynq.allocate(shape=(whole,), dtype=np.uint8)
        except (MemoryError, OSError, RuntimeError) as error:
            raise BusError(
                f"{whole} bytes of contiguous memory must be free, but are not ({error}); "
                "remedy: a larger cma= on the kernel's command line"
            ) from None
        made = _PynqBuffer(memory)
        memory[:] = 0
        # A dirty line that is evicted later would overwrite what the accelerator wrote.
        made.to_device(0, whole)
        return made

    def wait(self) -> bool:
        return self._interrupt.wait(self._time_limit_s)


class _PynqBuffer(Buffer):
    """Memory of PYNQ. The processors' caches may hold parts of it.

    PYNQ up to 3.0 synchronizes only the requested bytes. Later versions, over pyxrt, always
    synchronize the whole buffer. Both are right here: while the accelerator runs, no byte of the
    buffer is dirty in a cache, so invalidating more bytes loses nothing.
    """

    def __init__(self, memory: Any):
        super().__init__(np.asarray(memory), memory.device_address)
        self._memory = memory

    def to_device(self, offset: int, size: int) -> None:
        self._memory[offset : offset + size].flush()

    def from_device(self, offset: int, size: int) -> None:
        self._memory[offset : offset + size].invalidate()

    def free(self) -> None:
        self._memory.freebuffer()
