"""What goes over the serial line between a computer and the accelerator's board.

Eight data bits, no parity, one stop bit. The computer asks, the board answers; nothing else is ever
sent. A request is ``op`` (1 byte), ``address`` (4), ``count`` (2), all little-endian, and for a
write ``count`` words of 32 bits. The answer is, for a read, ``count`` words; then two bytes: the
status (:data:`STATUS` plus the worst AXI response of the words) and the sum of all bytes of the
request and the answer before, modulo 256.

Addresses count bytes and are multiples of 4; their top bits choose the space. A byte that is no
``op`` where one is expected is ignored. A break (the line low for longer than a byte, which is also
what a wrong speed looks like) makes the board forget the request in hand and return to
:data:`DEFAULT_BAUD`.
"""

import enum

__all__ = [
    "DEFAULT_BAUD",
    "DIVISOR_BITS",
    "HEADER_BYTES",
    "LEAST_DIVISOR",
    "MAX_WORDS",
    "STATUS",
    "TRAILER_BYTES",
    "HostRegister",
    "Op",
    "Space",
    "default_divisor",
]

#: Bits per second after a reset or a break.
DEFAULT_BAUD = 115_200
DIVISOR_BITS = 16
#: Fewest cycles per bit that the receiver can tell apart.
LEAST_DIVISOR = 4
HEADER_BYTES = 7
TRAILER_BYTES = 2
MAX_WORDS = (1 << 16) - 1
#: Status of an answer without errors; its low two bits are an AXI response.
STATUS = 0x50


class Op(enum.IntEnum):
    """The first byte of a request."""

    READ = 0xA1
    WRITE = 0xA2


class Space(enum.IntEnum):
    """Bits 31 and 30 of an address."""

    #: The memory, as the accelerator sees it.
    MEMORY = 0
    #: The accelerator's registers.
    REGISTERS = 2
    #: :class:`HostRegister`.
    HOST = 3

    @property
    def base(self) -> int:
        return self << 30


class HostRegister(enum.IntEnum):
    """Byte offsets of the serial interface's own registers."""

    #: Clock cycles per bit; a new value holds from the end of the answer on.
    DIVISOR = 0
    #: Bytes of the memory; read only.
    MEMORY_BYTES = 4
    #: Bit 0: the accelerator's interrupt; read only.
    INTERRUPT = 8
    #: The accelerator's clock in kHz; read only.
    CLOCK_KHZ = 12


def default_divisor(clock_hz: int) -> int:
    """Cycles per bit at :data:`DEFAULT_BAUD`."""
    return round(clock_hz / DEFAULT_BAUD)
