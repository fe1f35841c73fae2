"""The largest code of a window, and the sum over a whole map."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.flow import Grid, flow
from hw.spatial.raster import Raster

__all__ = ["LargestTap", "MapSum"]


class LargestTap(Component):
    """The largest code under the kernel, for each channel.

    Each round compares pairs and takes one cycle. Latency ``rounds(taps)`` cycles.

    Parameters
    ----------
    taps, words : number of positions under the kernel and of channels.
    bits, signed : bits and signedness of a code.

    Members
    -------
    i : a :func:`flow` of ``taps * words * bits``; o : a :func:`flow` of ``words * bits``
    """

    def __init__(self, *, taps: int, words: int, bits: int, signed: bool):
        self.taps = taps
        self.words = words
        self.bits = bits
        self.signed = signed
        super().__init__({"i": In(flow(taps * words * bits)), "o": Out(flow(words * bits))})

    @staticmethod
    def rounds(taps: int) -> int:
        """Cycles that the largest of ``taps`` codes takes."""
        return max(1, (taps - 1).bit_length())

    def build(self) -> Module:
        m = Module()
        columns = []
        for word in range(self.words):
            codes = [
                self.i.payload.data.word_select(tap * self.words + word, self.bits)
                for tap in range(self.taps)
            ]
            columns.append(codes)
        valid, first = self.i.valid, self.i.payload.first
        for stage in range(self.rounds(self.taps)):
            columns = [self._round(m, codes, f"{stage}_{w}") for w, codes in enumerate(columns)]
            for name, value in (("valid", valid), ("first", first)):
                register = Signal(name=f"{name}_{stage}", reset_less=name == "first")
                m.d.sync += register.eq(value)
                valid, first = (register, first) if name == "valid" else (valid, register)
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.payload.first.eq(first),
            self.o.payload.data.eq(Cat(codes[0] for codes in columns)),
        ]
        return m

    def _round(self, m: Module, codes: list[Value], name: str) -> list[Value]:
        """The larger code of each pair, in registers."""
        larger = []
        for index in range(0, len(codes), 2):
            register = Signal(self.bits, name=f"largest_{name}_{index // 2}", reset_less=True)
            pair = codes[index : index + 2]
            if self.signed:
                pair = [code.as_signed() for code in pair]
            m.d.sync += register.eq(Mux(pair[0] > pair[-1], pair[0], pair[-1]))
            larger.append(register)
        return larger


class MapSum(Component):
    """The sum over a map, for each channel, at the map's last position. Latency one cycle.

    Parameters
    ----------
    words : number of channels.
    bits, signed : bits and signedness of a code.
    total_bits : bits of a sum, enough for any.
    grid : grid of the map.

    Members
    -------
    i : a :func:`flow` of ``words * bits``; o : a :func:`flow` of ``words * total_bits``
    """

    latency = 1

    def __init__(self, *, words: int, bits: int, signed: bool, total_bits: int, grid: Grid):
        self.words = words
        self.bits = bits
        self.signed = signed
        self.total_bits = total_bits
        self.grid = grid
        super().__init__({"i": In(flow(words * bits)), "o": Out(flow(words * total_bits))})

    @property
    def module_name(self) -> str:
        grid = self.grid
        return f"{super().module_name}_grid{grid.height}_{grid.width}_{grid.row}"

    def build(self) -> Module:
        m = Module()
        grid, slot, first = self.grid, self.i.valid, self.i.payload.first
        m.submodules.raster = raster = Raster(grid.row, grid.height, (1, 1))
        m.d.comb += [raster.slot.eq(slot), raster.first.eq(first)]
        inside = slot & (raster.x < grid.width) & (raster.y < grid.height)
        last = (raster.x == grid.width - 1) & (raster.y == grid.height - 1)
        begun = Signal()
        with m.If(slot & first):
            m.d.sync += begun.eq(1)
        totals = []
        for word in range(self.words):
            code = self.i.payload.data.word_select(word, self.bits)
            value = code.as_signed() if self.signed else code
            total = Signal(self.total_bits, name=f"total_{word}", reset_less=True)
            so_far = Mux(first, 0, total)
            with m.If(inside):
                m.d.sync += total.eq(so_far + value)
            totals.append(total)
        m.d.sync += self.o.valid.eq(slot & last & (begun | first))
        m.d.comb += [self.o.payload.first.eq(1), self.o.payload.data.eq(Cat(totals))]
        return m
