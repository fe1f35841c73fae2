"""All registers of the accelerator: addresses, fields, meaning.

The hardware, the driver, the docs and the C header are made from this.
"""

from hw.contract.causes import ErrorCause, Stall
from hw.contract.isa import Region
from hw.contract.register_map import Access, Field, Register, RegisterArray, RegisterMap

__all__ = [
    "ADDRESS_BITS",
    "IDENTITY",
    "LAYERS",
    "REGISTERS",
    "VERSION",
]


#: ASCII "NBQN".
IDENTITY = 0x4E42514E
#: Version of the command stream and of this map: major in the upper half, minor in the lower.
VERSION = 0x0003_0000
#: Bits of an address of a register: the map takes ``2**ADDRESS_BITS`` bytes.
ADDRESS_BITS = 12
#: Layers whose completion is time-stamped.
LAYERS = 256


def _address(
    name: str, offset: int, doc: str, *, access: Access = Access.RW, reset: int = 0
) -> tuple[Register, Register]:
    """Two registers for the halves of an address."""
    halves = (("low", "bits 31...0"), ("high", "bits 63...32"))
    return tuple(
        Register(
            name=f"{name}_{half}",
            offset=offset + 4 * index,
            access=access,
            reset=reset >> 32 * index & 0xFFFFFFFF,
            doc=f"{doc}, {bits}.",
        )
        for index, (half, bits) in enumerate(halves)
    )


def _region(index: int, region: Region) -> tuple[Register, Register]:
    name = region.name.lower()
    doc = f"Address of the {name} region, a multiple of 4096 (with several ports: in stripe 0)"
    return _address(f"{name}_base", 0x040 + 8 * index, doc)


_CAUSES = {
    ErrorCause.CHECKSUM: "checksum",
    ErrorCause.OPCODE: "opcode",
    ErrorCause.LENGTH: "no END",
    ErrorCause.READ: "read error",
    ErrorCause.WRITE: "write error",
    ErrorCause.BUSY: "start while busy",
    ErrorCause.WINDOW: "outside the window",
}

_STALLS = {
    Stall.LOAD: "the next command waited for a load, or for room in the queue of loads.",
    Stall.STORE: "the next command waited for a store, or for room in the queue of stores; behind "
    "the last command, stores were under way.",
    Stall.FETCH: "no command had been fetched.",
    Stall.DRAIN: "results were not drained: those before the next ones, or what the next command "
    "reads.",
    Stall.OTHER: "none of these: the walker gathered a command's first positions, or the last "
    "results were on their way. The five and array_cycles add up to cycles.",
}

REGISTERS = RegisterMap(
    registers=(
        Register(name="identity", offset=0x000, access=Access.RO, doc=f'0x{IDENTITY:X}, "NBQN".'),
        Register(
            name="version",
            offset=0x004,
            access=Access.RO,
            doc="Version of the command stream and of this map.",
            fields=(
                Field(name="minor", offset=0, width=16),
                Field(name="major", offset=16, width=16),
            ),
        ),
        Register(
            name="digest",
            offset=0x008,
            access=Access.RO,
            doc="Digest of the configuration; programs carry the same number.",
        ),
        Register(
            name="array_shape",
            offset=0x00C,
            access=Access.RO,
            doc="Shape of the array.",
            fields=(
                Field(name="lanes", offset=0, width=10),
                Field(name="filters", offset=10, width=10),
                Field(name="pixels", offset=20, width=6),
                Field(name="multiply", offset=26, doc="1: multipliers in the array"),
            ),
        ),
        Register(
            name="control",
            offset=0x010,
            access=Access.PULSE,
            width=2,
            doc="Writing ones starts actions.",
            fields=(
                Field(name="start", offset=0, doc="Run the program."),
                Field(
                    name="reset", offset=1, doc="Stop, finish open AXI transfers and become idle."
                ),
            ),
        ),
        Register(
            name="status",
            offset=0x014,
            access=Access.RO,
            width=3,
            doc="State; done and error stay until the next start or reset.",
            fields=(
                Field(name="busy", offset=0),
                Field(name="done", offset=1),
                Field(name="error", offset=2),
            ),
        ),
        Register(
            name="irq_enable",
            offset=0x018,
            access=Access.RW,
            width=2,
            doc="Which events raise the interrupt.",
            fields=(Field(name="done", offset=0), Field(name="error", offset=1)),
        ),
        Register(
            name="irq_status",
            offset=0x01C,
            access=Access.W1C,
            width=2,
            doc="Events since they were last acknowledged; writing ones acknowledges.",
            fields=(Field(name="done", offset=0), Field(name="error", offset=1)),
        ),
        Register(
            name="error_cause",
            offset=0x020,
            access=Access.RO,
            width=4,
            doc=", ".join(f"{cause} {meaning}" for cause, meaning in _CAUSES.items()) + ".",
        ),
        Register(
            name="error_index",
            offset=0x024,
            access=Access.RO,
            width=16,
            doc="Number of the descriptor that was in hand when the error came.",
        ),
        Register(
            name="program_length",
            offset=0x028,
            access=Access.RW,
            width=16,
            doc="Descriptors of the program, END included.",
        ),
        Register(
            name="axi_shape",
            offset=0x02C,
            access=Access.RO,
            doc="The AXI4 ports.",
            fields=(
                Field(name="ports", offset=0, width=8),
                Field(name="data_width", offset=8, width=16, doc="bits of each"),
            ),
        ),
        *_address(
            "error_address",
            0x030,
            "After a read or write error the address of the burst, after a transfer outside the "
            "window the first one outside",
            access=Access.RO,
        ),
        *(register for index, region in enumerate(Region) for register in _region(index, region)),
        *_address(
            "stripe",
            0x0C0,
            "Bytes from one port's stripe of the memory to the next one's, a multiple of 4096; of "
            "no effect with one port",
        ),
        *_address(
            "window_first",
            0x0C8,
            "First address that may be accessed (with several ports: in stripe 0, and likewise in "
            "the others); the low 12 bits are ignored",
        ),
        *_address(
            "window_last",
            0x0D0,
            "Last address that may be accessed; the low 12 bits are ignored",
            reset=(1 << 64) - 1,
        ),
        Register(name="cycles", offset=0x080, access=Access.RO, doc="Cycles since the start."),
        Register(
            name="array_cycles",
            offset=0x084,
            access=Access.RO,
            doc="Cycles in which the array or a channel-wise unit took a step.",
        ),
        Register(
            name="compute_cycles",
            offset=0x088,
            access=Access.RO,
            doc="Cycles in which the compute engine had a command.",
        ),
        Register(
            name="load_cycles",
            offset=0x08C,
            access=Access.RO,
            doc="Cycles in which the load engine had a command.",
        ),
        Register(
            name="store_cycles",
            offset=0x090,
            access=Access.RO,
            doc="Cycles in which the store engine had a command.",
        ),
        *(
            Register(
                name=f"stall_{cause.name.lower()}",
                offset=0x094 + 4 * cause,
                access=Access.RO,
                doc=f"Cycles without a step: {_STALLS[cause]}",
            )
            for cause in Stall
        ),
    ),
    arrays=(
        RegisterArray(
            name="layer_cycles",
            offset=0x400,
            words=LAYERS,
            doc="Cycle of the run at which each layer was complete; old values stay until "
            "they are overwritten.",
        ),
    ),
)
