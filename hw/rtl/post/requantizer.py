"""Accumulators to activations: scale, shift with rounding, saturate."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import requantizer_latency
from hw.contract.words import PRE_SHIFT, SHIFT_BITS, addend_bits, param_fields
from hw.rtl.cells.addition import Addition
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.comparison import Comparison
from hw.rtl.cells.halving import Halving
from hw.rtl.component import Component

__all__ = [
    "Requantizer",
    "param_layout",
]

#: Bits that a table compares with the sign, if a condition allows.
_TOGETHER = 4
#: Conditions that a table takes.
_EXCESSES = 6


def param_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Params of one channel. ``addend`` holds bias, rounding and all merged constants."""
    return data.StructLayout(param_fields(config) | {"addend": signed(addend_bits(config))})


class Requantizer(Component):
    """``code = clip((acc * scale + addend) >> shift, low, high)``: a channel, several positions.

    ``scale`` is ``2**PRE_SHIFT`` in shift mode and the channel's multiplier in scale mode. With the
    addend that :mod:`hw.compiler.constants` gives, this is
    :class:`nbqnn_train.graph.nodes.Requantize` to the
    bit. One accumulator of each position per cycle, latency ``self.latency`` cycles, no
    backpressure; the sum has one bit more than its operands and cannot overflow.

    Parameters
    ----------
    positions : int
    terms : int
        An accumulator comes as the OR of so many numbers. With up to five, that is free.

    Members
    -------
    acc : ``In(...)``, ``terms`` of ``signed(acc_bits)`` for each position
    param : ``In(param_layout(config))``
    low, high : ``In(signed(act_bits))``, ``self.limits_after`` cycles after the accumulator
    code : ``Out(data.ArrayLayout(signed(act_bits), positions))``, registered
    """

    config_fields = ("requant", "act_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig, *, positions: int = 1, terms: int = 1):
        self.config = config
        self.positions = positions
        self.terms = terms
        self.latency = requantizer_latency(config)
        #: Where they are compared: before the last two.
        self.limits_after = self.latency - 2
        sums = data.ArrayLayout(signed(config.acc_bits), terms)
        super().__init__({
            "acc": In(data.ArrayLayout(sums, positions)),
            "param": In(param_layout(config)),
            "low": In(signed(config.act_bits)),
            "high": In(signed(config.act_bits)),
            "code": Out(data.ArrayLayout(signed(config.act_bits), positions)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        addend, stages = self._prepared(m)
        low, high = Signal.like(self.low), Signal.like(self.high)
        m.d.data += [low.eq(self.low), high.eq(self.high)]
        for position in range(self.positions):
            total = self._total(m, addend, position)
            shifted, excess = self._shifted(m, total, stages, position)
            value = self._register(signed(self.config.act_bits), "value", position)
            # Which of the parts above the value have a bit that differs from the sign.
            excesses = self._register(len(excess), "excesses", position)
            m.d.data += [value.eq(Cat(shifted, total[-1])), excesses.eq(Cat(excess))]
            below, not_above = self._compared(m, value, excesses.any(), position)
            kept = self._register(signed(self.config.act_bits), "kept", position)
            m.d.data += [
                kept.eq(value),
                self.code[position].eq(Mux(below, low, Mux(not_above, kept, high))),
            ]
        return m

    def _register(self, shape: ShapeLike, name: str, position: int) -> Signal:
        return Signal(shape, name=_numbered(name, position))

    def _prepared(self, m: Module) -> tuple[Value, list[tuple[int, Value, Value]]]:
        """What all positions share: the addend, and the shift in stages.

        A stage is two bits of the amount, the high ones first: the lower bit's place, the bits, and
        for each number whether it is no less than they are.
        """
        width = addend_bits(self.config)
        shift_bits = min(SHIFT_BITS, width.bit_length())
        addend, shift = self.param.addend, self.param.shift
        if self.config.requant == "scale":
            # These wait for the products.
            addend = Signal(signed(width))
            shift = Signal(SHIFT_BITS, name="shift_of_product")
            m.d.data += [addend.eq(self.param.addend), shift.eq(self.param.shift)]
        # Only the sign is left of a total shifted by its width or more.
        beyond = shift[shift_bits:].any()
        amount = Signal(shift_bits, name="shift")
        m.d.data += amount.eq(shift[:shift_bits])
        # That is the registers' set and reset, which take no tables.
        with m.If(beyond):
            m.d.data += amount.eq(~0)
        stages = []
        for top in range(shift_bits - 1, -1, -2):
            low_bit = max(0, top - 1)
            steps = shift[low_bit : top + 1]
            reached = Signal((1 << len(steps)) - 1, name=f"reached_{low_bit}")
            m.d.data += reached.eq(Cat(steps <= i for i in range(len(reached))))
            with m.If(beyond):
                m.d.data += reached.eq(0)
            stages.append((low_bit, amount[low_bit : top + 1], reached))
        return addend, stages

    def _total(self, m: Module, addend: Value, position: int) -> Signal:
        """The scaled accumulator and the addend, registered."""
        width = addend_bits(self.config)
        terms = [self.acc[position][term] for term in range(self.terms)]
        total = self._register(signed(width + 1), "total", position)
        if self.config.requant == "shift":
            addition = Addition(
                width=width - PRE_SHIFT, count=self.terms, bits=self.config.acc_bits
            )
            m.submodules[_numbered("addition", position)] = addition
            m.d.comb += [
                addition.addend.eq(addend[PRE_SHIFT:]),
                *(to.eq(term) for to, term in zip(addition.terms, terms, strict=True)),
            ]
            m.d.data += total.eq(Cat(addend[:PRE_SHIFT], addition.total))
        else:
            acc = reduce(or_, terms)
            scaled = self._register(signed(width), "scaled", position)
            m.d.data += [scaled.eq(acc * self.param.multiplier), total.eq(addend + scaled)]
        return total

    def _shifted(
        self,
        m: Module,
        total: Value,
        stages: list[tuple[int, Value, Value]],
        position: int,
    ) -> tuple[Value, list[Value]]:
        """The low bits of ``total >> amount``, as many as a code has below its sign.

        Beside them conditions for one of the bits above to differ from the sign. Only bits that
        can still reach the output are shifted.
        """
        sign = total[-1]
        value, excess = total[:-1], []
        for low, steps, reached in stages:
            width = self.config.act_bits - 1 + (1 << low) - 1
            moved = Signal(width, name=_numbered(f"moved_{low}", position))
            if len(value) == width + 1:
                halving = Halving(width=width)
                m.submodules[_numbered(f"halving_{low}", position)] = halving
                m.d.comb += [
                    halving.value.eq(value),
                    halving.halve.eq(steps),
                    moved.eq(halving.result),
                ]
            else:
                choice = Choice(ways=1 << len(steps), width=width)
                m.submodules[_numbered(f"choice_{low}", position)] = choice
                extended = Cat(value, sign.replicate(width + (choice.ways << low)))
                m.d.comb += [
                    *(word.eq(extended[i << low :][:width]) for i, word in enumerate(choice.words)),
                    choice.select.eq(steps),
                    moved.eq(choice.chosen),
                ]
            for i in range(1 << len(steps)):
                # Above the part that is kept, unless the amount is larger than this.
                part = value[width + (i << low) : width + (i + 1 << low)]
                stays = reached[i] if i < len(reached) else Const(1)
                for first in range(0, len(part), _TOGETHER):
                    bits = part[first : first + _TOGETHER]
                    excess.append((bits != sign.replicate(len(bits))) & stays)
            value = moved
        # No more than one table takes in the next cycle.
        return value, [*excess[: _EXCESSES - 1], Cat(excess[_EXCESSES - 1 :]).any()]

    def _compared(
        self, m: Module, value: Signal, exceeds: Value, position: int
    ) -> tuple[Signal, Signal]:
        """Whether the value is below the low limit and not above the high one, registered.

        Whatever is outside of the codes is on the sign's side of both limits.
        """
        below = self._register(1, "below", position)
        not_above = self._register(1, "not_above", position)
        for name, a, b, result in (
            ("compare_low", self.low, value, below),
            ("compare_high", self.high, value, not_above),
        ):
            comparison = Comparison(bits=self.config.act_bits)
            m.submodules[_numbered(name, position)] = comparison
            m.d.comb += [
                comparison.a.eq(a),
                comparison.b.eq(b),
                comparison.override.eq(exceeds),
                # Equal to a limit it may count as beyond: the code is the same.
                comparison.value.eq(value[-1]),
            ]
            m.d.data += result.eq(comparison.result)
        return below, not_above


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
