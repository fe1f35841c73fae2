"""The command stream: 128-byte descriptors that the accelerator fetches from memory.

Every descriptor begins with the same head: opcode, layer, and how many commands of each engine
must be complete before it starts. The opcode says what its body is. Commands of one engine run in
order. Commands of different engines overlap, unless the head says otherwise. Fields are packed from
the low bits upwards, without gaps. The rest of the descriptor is zero, except for the last word: it
makes the 32-bit sum of all words equal to :data:`CHECKSUM`.

One table of fields packs descriptors here and names the signals in the hardware.
"""

import enum
from dataclasses import dataclass

__all__ = [
    "BODIES",
    "CHECKSUM",
    "DESCRIPTOR_BYTES",
    "DRAIN_FIELDS",
    "HEAD",
    "MAX_COMMANDS",
    "MAX_FIELD",
    "MAX_KERNEL",
    "PAGE_BYTES",
    "Command",
    "Compute",
    "End",
    "Load",
    "Memory",
    "Opcode",
    "Product",
    "Region",
    "Store",
    "Unit",
    "pack",
    "read_commands",
    "unpack",
]

DESCRIPTOR_BYTES = 128
#: Largest value of a field of 16 bits.
MAX_FIELD = (1 << 16) - 1
#: Most commands of a program. Heads and ``program_length`` count commands in 16 bits.
MAX_COMMANDS = MAX_FIELD
#: Most rows and steps of a row of a kernel.
MAX_KERNEL = (1 << 8) - 1
#: Regions and stripes begin at multiples of so many bytes, and no AXI burst crosses one.
PAGE_BYTES = 4096
#: ASCII "nbqn": an all-zero descriptor, as empty memory would give, is not valid.
CHECKSUM = 0x6E62716E


class Opcode(enum.IntEnum):
    """What a descriptor asks for."""

    END = 1
    LOAD = 2
    COMPUTE = 3
    STORE = 4


class Memory(enum.IntEnum):
    """Where a load goes."""

    ACT = 0
    WEIGHT = 1
    PARAM = 2
    TABLE = 3


class Unit(enum.IntEnum):
    """What a compute command runs on."""

    #: Sums over all input channels.
    ARRAY = 0
    #: Maximum, channel by channel.
    MAX = 1
    #: Weighted sums, channel by channel.
    SUM = 2


class Product(enum.IntFlag):
    """Flags of a compute command of :attr:`Unit.SUM` that multiplies two tensors.

    The first channel group reads the factor. Each of the others multiplies by one digit of it.
    """

    NONE = 0
    #: The command multiplies two tensors.
    DIGITS = 1
    #: All positions have the same factor.
    SHARED = 2
    #: The factor's stored codes are its codes less half of their range.
    UNSIGNED = 4


class Region(enum.IntEnum):
    """Parts of the host's memory. Descriptors hold offsets into them, registers their bases."""

    PROGRAM = 0
    PARAMETERS = 1
    INPUT = 2
    OUTPUT = 3
    SCRATCH = 4


#: Field name -> bits, lowest first.
HEAD = {
    "opcode": 8,
    #: Set on a layer's last command: its completion writes the layer's time stamp.
    "layer_end": 8,
    "layer": 16,
    "wait_load": 16,
    "wait_compute": 16,
    "wait_store": 16,
    "reserved": 16,
}

#: A transfer of ``rows`` rows of ``words`` memory words; strides lead from row to row.
_TRANSFER = {
    "offset": 32,
    "region": 8,
    "memory": 8,
    "base": 16,
    "words": 16,
    "rows": 16,
    "base_stride": 16,
    #: AXI beats of a row: ``words`` times the beats of a word.
    "beats": 16,
    "offset_stride": 32,
}

_COMPUTE = {
    #: Member of :class:`Unit`.
    "unit": 8,
    #: Output positions computed together, 1...pixels.
    "pixels": 8,
    #: Chunks of post_lanes channels written for each position.
    "chunks": 8,
    #: First chunk's place in the output word.
    "sub": 8,
    #: Cycles to drain a group: turns of post_positions positions, times chunks.
    "drain_cycles": 16,
    "filter_groups": 16,
    #: Input channel groups, KH and KW: the steps of one output.
    "channel_groups": 16,
    "kernel_h": 8,
    "kernel_w": 8,
    "positions": 16,
    "out_width": 16,
    #: Word of row 0, column 0 of the first window; wraps where that is in the padding.
    "in_base": 16,
    #: Stored code of padded positions: 0 or the lowest one; only its sign counts.
    "pad": 16,
    "in_height": 16,
    "in_width": 16,
    #: Row and column of the first window's corner: minus the padding.
    "row": 16,
    "column": 16,
    #: Words from one output position to the next, and from a row's last one to the next row.
    "column_step": 16,
    "row_step": 16,
    "origin_wrap": 16,
    "out_wrap": 16,
    #: From one output to the next in a row.
    "out_step": 8,
    #: Bit 0: the first step adds to the sums of the command before, which has the same positions.
    #: Bit 1: those sums are multiplied by the radix first. Such commands have a single group.
    #: Bit 2: channel-wise steps take ``depthwise_taps`` taps, of words beside each other. The
    #: positions of a group lie beside each other too; tap_column moves by so many taps.
    "adds": 8,
    #: Words from tap to tap along a kernel row, from row to row, and to the next channel group.
    "tap_column": 16,
    "tap_row": 16,
    "tap_row_origin": 16,
    "tap_group_origin": 16,
    #: Added to in_base for each filter group (channel groups of pooling).
    "group_origin": 16,
    "weight_base": 16,
    #: 1 if every filter group has weights of its own, one group after the other.
    "weight_step": 16,
    "param_base": 16,
    #: 1 if every filter group has params of its own.
    "param_step": 16,
    "out_base": 16,
    "out_plane": 16,
    "low": 16,
    "high": 16,
    #: Bit 0: codes pass through the table. Above it, for tables of knots: how many bits a code is
    #: moved up first.
    "table": 8,
    #: How channel-wise sums take factors from activations: flags of :class:`Product`.
    "product": 8,
    #: Where the first step of an output reads its factor: a distance in words from where the other
    #: steps read, or, where all positions have the same factor, its word.
    "factor": 16,
}

#: Fields of a compute command that are needed until its last result is written.
DRAIN_FIELDS = (
    *("unit", "chunks", "sub", "out_plane", "param_base", "param_step", "low", "high"),
    "table",
)

BODIES = {
    Opcode.END: {},
    Opcode.LOAD: _TRANSFER,
    Opcode.COMPUTE: _COMPUTE,
    Opcode.STORE: _TRANSFER,
}


@dataclass(kw_only=True)
class Command:
    """One descriptor: head and body as attributes."""

    opcode = Opcode.END
    layer: int = 0
    layer_end: int = 0
    wait_load: int = 0
    wait_compute: int = 0
    wait_store: int = 0
    reserved: int = 0

    def waits_for(self, engine: Opcode) -> int:
        """How many commands of that engine must be complete before this one starts."""
        return getattr(self, f"wait_{engine.name.lower()}")


class End(Command):
    """Waits for all other commands and ends the program."""


def _command(name: str, opcode: Opcode, doc: str) -> type[Command]:
    """A command class whose attributes are the fields of the opcode's body, all 0 at first."""
    namespace = {"opcode": opcode, "__doc__": doc, "__module__": __name__}
    namespace["__annotations__"] = dict.fromkeys(BODIES[opcode], int)
    namespace.update(dict.fromkeys(BODIES[opcode], 0))
    return dataclass(kw_only=True)(type(name, (Command,), namespace))


Load = _command("Load", Opcode.LOAD, "Moves words from the host's memory into an on-chip memory.")
Compute = _command("Compute", Opcode.COMPUTE, "Computes output positions of one layer.")
Store = _command("Store", Opcode.STORE, "Moves activation words to the host's memory.")


_COMMANDS = {kind.opcode: kind for kind in (End, Load, Compute, Store)}


def pack(command: Command) -> bytes:
    """The descriptor of a command. Negative numbers wrap to their field's two's complement.

    Raises :exc:`ValueError` for a field whose value needs more bits than it has.
    """
    word, position = 0, 0
    for name, bits in (HEAD | BODIES[command.opcode]).items():
        value = int(getattr(command, name))
        if not -(1 << (bits - 1)) <= value < 1 << bits:
            raise ValueError(
                f"Field {name} of {type(command).__name__} must fit {bits} bits, not be {value}"
            )
        word |= (value & ((1 << bits) - 1)) << position
        position += bits
    body = word.to_bytes(DESCRIPTOR_BYTES - 4, "little")
    words = (int.from_bytes(body[i : i + 4], "little") for i in range(0, len(body), 4))
    return body + ((CHECKSUM - sum(words)) % (1 << 32)).to_bytes(4, "little")


def unpack(descriptor: bytes) -> Command:
    """The command of a descriptor. Its numbers are unsigned, as the hardware holds them.

    Raises :exc:`ValueError` for an unknown opcode.
    """
    word = int.from_bytes(descriptor, "little")
    opcode = Opcode(descriptor[0])
    fields = {}
    for name, bits in (HEAD | BODIES[opcode]).items():
        fields[name] = word & ((1 << bits) - 1)
        word >>= bits
    del fields["opcode"]
    return _COMMANDS[opcode](**fields)


def read_commands(stream: bytes) -> list[Command]:
    """The commands of a program's descriptors, in order."""
    return [
        unpack(stream[at : at + DESCRIPTOR_BYTES]) for at in range(0, len(stream), DESCRIPTOR_BYTES)
    ]
