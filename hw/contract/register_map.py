"""A map of registers, described once for the hardware, the driver, the docs and the C header."""

import enum
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

__all__ = ["WORD_BYTES", "Access", "Field", "Register", "RegisterArray", "RegisterMap"]


_NAME = re.compile(r"[a-z][a-z0-9_]*")


#: Bytes of a register.
WORD_BYTES = 4


class Access(enum.Enum):
    """What software may do with a register, and what the hardware sees."""

    #: Software reads what the hardware drives.
    RO = "ro"
    #: Software writes and reads back; the hardware sees the value.
    RW = "rw"
    #: The hardware sets bits, software clears those it writes as one.
    W1C = "w1c"
    #: A write is an event for the hardware; reads give zero.
    PULSE = "pulse"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Some bits of a register."""

    name: str
    #: Lowest bit.
    offset: int
    width: int = 1
    doc: str = ""

    @property
    def mask(self) -> int:
        """The register's word with ones in the field and zeros everywhere else."""
        return (2**self.width - 1) << self.offset


@dataclass(frozen=True, kw_only=True)
class Register:
    """One word of the map; software packs and unpacks its fields by their names."""

    name: str
    #: Byte address, a multiple of 4.
    offset: int
    access: Access
    #: Bits in use, from bit 0.
    width: int = 32
    #: Value after reset, of RW and W1C registers.
    reset: int = 0
    doc: str = ""
    fields: tuple[Field, ...] = ()

    def __post_init__(self):
        _check_address(self.name, self.offset)
        if not isinstance(self.access, Access):
            raise TypeError(
                f"Access of register {self.name} must be an Access, not {self.access!r}"
            )
        if self.width not in range(1, 33):
            raise ValueError(
                f"Width of register {self.name} must be 1..32 bits, not {self.width!r}"
            )
        if self.reset not in range(2**self.width):
            raise ValueError(
                f"Reset value of register {self.name} must fit {self.width} bits, "
                f"not be {self.reset!r}"
            )
        if self.reset and self.access not in (Access.RW, Access.W1C):
            raise ValueError(
                f"Register {self.name} must be rw or w1c to have a reset value, "
                f"not {self.access.value}"
            )
        used = 0
        for item in self.fields:
            if item.width < 1 or item.mask >> self.width or item.mask & used:
                raise ValueError(
                    f"Field {item.name} of register {self.name} must have bits of "
                    f"its own in 0..{self.width - 1}, not {item.width} from "
                    f"{item.offset}"
                )
            used |= item.mask
        if self.fields and self.reset & ~used:
            raise ValueError(
                f"Reset value of register {self.name} must be of its fields, not {self.reset:#x}"
            )

    def pack(self, **values: int) -> int:
        """The register's word with these values in its fields and zeros everywhere else.

        Raises :exc:`ValueError` for an unknown field, or a value that does not fit.
        """
        known = {item.name: item for item in self.fields}
        word = 0
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"Field of register {self.name} must be one of {', '.join(known)}, not {name!r}"
                )
            if value not in range(2 ** known[name].width):
                raise ValueError(
                    f"Field {name} of register {self.name} must be 0..{2 ** known[name].width - 1},"
                    f" not {value!r}"
                )
            word |= value << known[name].offset
        return word

    def unpack(self, word: int) -> SimpleNamespace:
        """The values of all fields in the register's word, as attributes."""
        return SimpleNamespace(
            **{item.name: (word & item.mask) >> item.offset for item in self.fields}
        )


@dataclass(frozen=True, kw_only=True)
class RegisterArray:
    """A synchronous memory that software reads as consecutive words."""

    name: str
    #: Byte address, a multiple of 4.
    offset: int
    words: int
    doc: str = ""

    def __post_init__(self):
        _check_address(self.name, self.offset)
        if not isinstance(self.words, int) or self.words < 2:
            raise ValueError(f"Words of array {self.name} must be 2 or more, not {self.words!r}")


@dataclass(frozen=True)
class RegisterMap:
    """All registers and arrays of a device; names and addresses must not overlap.

    Each is an attribute of the map by its name: ``REGISTERS.control``.
    """

    registers: tuple[Register, ...]
    arrays: tuple[RegisterArray, ...] = field(default=())

    def __post_init__(self):
        names = {}
        words = {}
        for item in (*self.registers, *self.arrays):
            if item.name in names:
                raise ValueError(f"Register names must differ, not be {item.name!r} twice")
            names[item.name] = item
            for offset in range(item.offset, item.offset + _size(item), WORD_BYTES):
                if offset in words:
                    raise ValueError(
                        f"Register {item.name} must have an offset of its own, "
                        f"not {offset:#x}, which is {words[offset]}'s"
                    )
                words[offset] = item.name

    def __getitem__(self, name: str) -> Register | RegisterArray:
        """The register or array of that name."""
        for item in (*self.registers, *self.arrays):
            if item.name == name:
                return item
        raise KeyError(name)

    def __getattr__(self, name: str) -> Register | RegisterArray:
        # Copying asks for such names while the map has no registers yet.
        if name.startswith("_") or name in ("registers", "arrays"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no register {name!r}") from None

    @property
    def size(self) -> int:
        """Bytes from address 0 to the end of the last register."""
        return max(item.offset + _size(item) for item in (*self.registers, *self.arrays))


def _check_address(name: str, offset: int) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"Register name must be lower-case letters, digits and underscores, not {name!r}"
        )
    if not isinstance(offset, int) or offset < 0 or offset % WORD_BYTES:
        raise ValueError(
            f"Offset of register {name} must be a multiple of {WORD_BYTES}, not {offset!r}"
        )


def _size(item: Register | RegisterArray) -> int:
    return WORD_BYTES * item.words if isinstance(item, RegisterArray) else WORD_BYTES
