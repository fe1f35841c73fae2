"""The registers of a map as an AXI4-Lite slave."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.register_map import WORD_BYTES, Access, Register, RegisterArray, RegisterMap
from hw.rtl.axi.bus import AxiLiteSignature, Resp
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.one_hot import number_of
from hw.rtl.component import Component

__all__ = ["AxiLiteRegisters", "register_shape"]

#: Registers that one choice is between: a row of tables with its multiplexers takes so many.
_CHOICE = 16


def register_shape(register: Register) -> ShapeLike:
    """The layout of a register's fields, or its bits if it has none."""
    if not register.fields:
        return unsigned(register.width)
    fields = {field.name: data.Field(field.width, field.offset) for field in register.fields}
    return data.FlexibleLayout(register.width, fields)


def _reset(register: Register) -> int | dict[str, int]:
    """The register's value after reset, as its shape takes it."""
    return vars(register.unpack(register.reset)) if register.fields else register.reset


class AxiLiteRegisters(Component):
    """An AXI4-Lite slave with the registers of a map.

    Outputs are registered. A write takes effect, and is answered, three cycles after its address
    and two after its data; a read is answered after six. Each side has one transfer at a time.
    Byte strobes are honoured; address bits 0 and 1 are ignored. A read of an address without a
    register, or a write to one without a writable register, is answered with SLVERR and changes
    nothing.

    Parameters
    ----------
    register_map : RegisterMap
    address_width : int
        Bits of the bus's addresses; addresses count bytes.
    name : str
        The end of the module's name; it tells the modules of two maps apart.

    Members
    -------
    axi : ``In(AxiLiteSignature(address_width))``
    NAME : ``In(register_shape(...))`` for ``ro``, ``Out(...)`` for ``rw`` and ``w1c`` registers
    NAME_set : ``In(register_shape(...))``
        Bits to set, for ``w1c`` registers; setting wins over clearing.
    NAME_strobe, NAME_data : ``Out(1)``, ``Out(register_shape(...))``
        For ``pulse`` registers: high for one cycle after a write, and what was written.
    NAME_address, NAME_data : ``Out(range(words))``, ``In(32)``
        For arrays: the data comes one or two cycles after the address, which then stays.
    """

    def __init__(self, register_map: RegisterMap, address_width: int, *, name: str = ""):
        if not isinstance(register_map, RegisterMap):
            raise TypeError(f"Register map must be a RegisterMap, not {register_map!r}")
        if not isinstance(address_width, int):
            raise TypeError(f"Address width must be an integer, not {address_width!r}")
        if register_map.size > 2**address_width:
            raise ValueError(
                f"Address width must reach {register_map.size} bytes of registers, "
                f"not {address_width!r} bits"
            )
        self.register_map = register_map
        self.address_width = address_width
        self.name = name
        members = {"axi": In(AxiLiteSignature(address_width))}
        for register in register_map.registers:
            name, shape, init = register.name, register_shape(register), _reset(register)
            match register.access:
                case Access.RO:
                    added = {name: In(shape)}
                case Access.RW:
                    added = {name: Out(shape, init=init)}
                case Access.W1C:
                    added = {f"{name}_set": In(shape), name: Out(shape, init=init)}
                case Access.PULSE:
                    added = {f"{name}_strobe": Out(1), f"{name}_data": Out(shape)}
            _add_members(members, added)
        for array in register_map.arrays:
            _add_members(members, {
                f"{array.name}_address": Out(range(array.words)),
                f"{array.name}_data": In(32),
            })  # fmt: skip
        super().__init__(members)

    def _bits(self, member: str) -> Value:
        """A member without its layout."""
        return Value.cast(getattr(self, member))

    def build(self) -> Module:
        m = Module()
        self._elaborate_writes(m)
        self._elaborate_reads(m)
        return m

    def _elaborate_writes(self, m: Module) -> None:
        axi = self.axi
        word = Signal(self.address_width - 2)
        data = Signal(32)
        strobe = Signal(4)
        mask = Signal(32)
        have_address = Signal()
        decoded = Signal()
        have_data = Signal()
        write = Signal()
        writable = [r for r in self.register_map.registers if r.access is not Access.RO]
        chosen = Signal(max(1, len(writable)))
        m.d.comb += [
            axi.awready.eq(~have_address),
            axi.wready.eq(~have_data),
            mask.eq(Cat(bit.replicate(8) for bit in strobe)),
            write.eq(decoded & have_data & ~axi.bvalid),
        ]
        m.d.sync += [
            decoded.eq(have_address),
            chosen.eq(Cat(word == register.offset // WORD_BYTES for register in writable)),
        ]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [have_address.eq(1), word.eq(axi.awaddr[2:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [have_data.eq(1), data.eq(axi.wdata), strobe.eq(axi.wstrb)]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [
                have_address.eq(0),
                decoded.eq(0),
                have_data.eq(0),
                axi.bvalid.eq(1),
                axi.bresp.eq(Mux(chosen.any(), Resp.OKAY, Resp.SLVERR)),
            ]
        for index, register in enumerate(writable):
            selected = Signal(name=f"{register.name}_selected")
            m.d.comb += selected.eq(write & chosen[index])
            match register.access:
                case Access.RW:
                    value = self._bits(register.name)
                    # Byte by byte: so strobes become enables of registers and take no tables.
                    for byte in range(-(-register.width // 8)):
                        bits = slice(8 * byte, min(8 * byte + 8, register.width))
                        with m.If(selected & strobe[byte]):
                            m.d.sync += value[bits].eq(data[bits])
                case Access.W1C:
                    value = self._bits(register.name)
                    set_ = self._bits(f"{register.name}_set")
                    clear = Signal(register.width, name=f"{register.name}_clear")
                    with m.If(selected):
                        m.d.comb += clear.eq(data & mask)
                    m.d.sync += value.eq((value & ~clear) | set_)
                case Access.PULSE:
                    m.d.sync += getattr(self, f"{register.name}_strobe").eq(selected & strobe.any())
                    with m.If(selected):
                        m.d.sync += self._bits(f"{register.name}_data").eq(data & mask)

    def _elaborate_reads(self, m: Module) -> None:
        axi = self.axi
        word = Signal(self.address_width - 2)
        for array in self.register_map.arrays:
            address = getattr(self, f"{array.name}_address")
            m.d.comb += address.eq(word - array.offset // WORD_BYTES)
        # All that can be read, and whether the address is of it. The choice is by number, because
        # that needs the fewest tables.
        found, values = [], []
        for item in (*self.register_map.registers, *self.register_map.arrays):
            first = item.offset // WORD_BYTES
            if isinstance(item, RegisterArray):
                found.append((word >= first) & (word < first + item.words))
                value = getattr(self, f"{item.name}_data")
            else:
                found.append(word == first)
                value = Const(0) if item.access is Access.PULSE else self._bits(item.name)
            values.append(Cat(value, Const(0, 32 - len(value))))
        matches = Signal(len(found))
        number = Signal(range(max(2, len(values))))
        known = Signal()
        chosen = []
        for first in range(0, len(values), _CHOICE):
            words = values[first : first + _CHOICE]
            choice = Choice(ways=_CHOICE, width=32)
            m.submodules[f"choice_{first}"] = choice
            m.d.comb += [to.eq(word) for to, word in zip(choice.words, words, strict=False)]
            m.d.comb += choice.select.eq(number)
            kept = Signal(32, name=f"chosen_{first}")
            m.d.data += kept.eq(choice.chosen)
            chosen.append(kept)
        data = Array(chosen)[number // _CHOICE]
        with m.FSM(name="read"):
            with m.State("IDLE"):
                m.d.comb += axi.arready.eq(1)
                m.d.sync += word.eq(axi.araddr[2:])
                with m.If(axi.arvalid):
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.sync += matches.eq(Cat(found))
                m.next = "NUMBER"
            with m.State("NUMBER"):
                m.d.sync += [known.eq(matches.any()), number.eq(number_of(list(matches)))]
                m.next = "CHOICE"
            with m.State("CHOICE"):
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += [
                    axi.rvalid.eq(1),
                    axi.rdata.eq(data),
                    axi.rresp.eq(Mux(known, Resp.OKAY, Resp.SLVERR)),
                ]
                with m.If(~known):
                    m.d.sync += axi.rdata.eq(0)
                m.next = "RESPONSE"
            with m.State("RESPONSE"), m.If(axi.rready):
                m.d.sync += axi.rvalid.eq(0)
                m.next = "IDLE"


def _add_members(members: dict, added: dict) -> None:
    for name, member in added.items():
        if name in members:
            raise ValueError(f"Register names must give members of their own, not {name!r} twice")
        members[name] = member
