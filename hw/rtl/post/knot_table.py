"""A table of knots behind a lane's requantizers: functions of activations of more than 8 bits."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.config import MOST_TABLE_BITS, AcceleratorConfig
from hw.contract.words import table_word_bits
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component
from hw.rtl.memory.ports import WideWriteSignature

__all__ = ["KnotTable"]


class KnotTable(Component):
    """A code for every code, interpolated between knots, or the codes as they are.

    With ``F = act_bits - 8`` the code, moved up by ``shift`` bits, is ``i`` (8 bits) and a fraction
    ``f`` (F bits). The result is ``knot[i] + ((rise[i] * f + 2**(F - 1)) >> F)``. Nothing is
    multiplied: bit by bit of the fraction, the lowest first, the rise is added to half of what is
    there. What the halves lose is below the last bit of the result.

    Latency :func:`hw.contract.timing.table_latency` cycles, one code of each position per
    cycle. A word that is written counts from the third cycle after.

    Parameters
    ----------
    positions : int

    Members
    -------
    write : ``In(WideWriteSignature(...))``, of words as from :func:`hw.contract.words.pack_table`
    use : ``In(1)``, codes pass through the table
    shift : ``In(4)``, at most F
    code : ``In(data.ArrayLayout(signed(act_bits), positions))``
    result : ``Out(...)`` likewise, registered
    """

    config_fields = ("act_bits",)

    def __init__(self, config: AcceleratorConfig, *, positions: int):
        self.config = config
        self.positions = positions
        codes = data.ArrayLayout(signed(config.act_bits), positions)
        super().__init__({
            "write": In(WideWriteSignature(table_word_bits(config))),
            "use": In(1),
            "shift": In(4),
            "code": In(codes),
            "result": Out(codes),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        # Near the memories, of which there are many on the chip.
        enable, row = Signal(), Signal(MOST_TABLE_BITS)
        word = Signal(table_word_bits(self.config))
        m.d.sync += enable.eq(self.write.enable)
        m.d.data += [row.eq(self.write.address), word.eq(self.write.data)]
        # Until the word is there: the code is moved, the memory reads in two cycles.
        (use,) = delayed(m, ("use",), (self.use,), 3, domain="data")
        for position in range(self.positions):
            memory = Memory(shape=len(word), depth=1 << MOST_TABLE_BITS, init=[])
            m.submodules[f"memory_{position}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [write.addr.eq(row), write.data.eq(word), write.en.eq(enable)]
            self._interpolate(m, position, read, use)
        return m

    def _interpolate(self, m: Module, position: int, read, use: Value) -> None:
        bits = self.config.act_bits
        fraction_bits = bits - MOST_TABLE_BITS

        def register(width: int, name: str, value: Value, keep: Value | None = None) -> Signal:
            """Of ``value``, signed, or of 0: its reset clears it, which takes no tables."""
            result = Signal(signed(width), name=f"{name}_{position}")
            m.d.data += result.eq(value)
            if keep is not None:
                with m.If(~keep):
                    m.d.data += result.eq(0)
            return result

        original = self.code[position].as_unsigned()
        moved = register(bits, "moved", (original << self.shift)[:bits])
        m.d.comb += [read.addr.eq(moved[fraction_bits:]), read.en.eq(1)]
        found = register(len(read.data), "found", read.data)
        (code,) = delayed(m, (f"code_{position}",), (original,), 3, domain="data")
        names = (f"fraction_{position}",)
        (fraction,) = delayed(m, names, (moved[:fraction_bits],), 2, domain="data")
        knot = register(bits, "knot", Mux(use, found[:bits], code))
        rise = register(bits + 1, "rise", found[bits:], use)
        # The rise where a bit of the fraction is set: that of this step, and that of the next.
        part, added = (
            register(bits + 1, f"added_{bit}", found[bits:], use & fraction[bit : bit + 1].any())
            for bit in range(2)
        )
        (fraction,) = delayed(m, (f"fraction_of_{position}",), (fraction,), 1, domain="data")
        for bit in range(1, fraction_bits):
            part = register(bits + 2, f"part_{bit}", (part >> 1) + added)
            added = register(bits + 1, f"added_{bit + 1}", rise, fraction[bit + 1 : bit + 2].any())
            names = tuple(f"{name}{bit}_{position}" for name in ("knot", "rise", "fraction"))
            knot, rise, fraction = delayed(m, names, (knot, rise, fraction), 1, domain="data")
        # Half of the last part, rounded: one below the knot's last bit carries what is lost.
        total = Cat(Const(1, 1), knot).as_signed() + part
        m.d.data += self.result[position].eq(total >> 1)
