"""Accumulators to activations: scale, shift with rounding, saturate."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.structure import EXCESS_BITS, EXCESS_CONDITIONS
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


def param_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Params of one channel. ``addend`` holds bias, rounding and all merged constants."""
    return data.StructLayout(param_fields(config) | {"addend": signed(addend_bits(config))})


class Requantizer(Component):
    """Computes ``clip((acc * scale + addend) >> shift, low, high)`` for one channel.

    ``scale`` is ``2**PRE_SHIFT`` in shift mode and the channel's multiplier in scale mode. With the
    addend of :mod:`hw.compiler.constants` the result equals
    :class:`nbqnn_train.graph.nodes.Requantize` to the bit.

    One accumulator of each position per cycle, no backpressure. Latency ``self.latency`` cycles.
    The sum has one bit more than its operands, so it cannot overflow.

    Parameters
    ----------
    positions : int
        Positions that are computed in one cycle.
    terms : int
        An accumulator is the OR of so many numbers. Up to five cost nothing.

    Members
    -------
    acc : ``In(...)``, ``terms`` of ``signed(acc_bits)`` for each position
    param : ``In(param_layout(config))``
    low, high : ``In(signed(act_bits))``, ``self.limits_after`` cycles after the accumulator
    code : ``Out(data.ArrayLayout(signed(act_bits), positions))``, registered
    next_code : ``Out(...)`` likewise, what ``code`` is in the next cycle, for memories
    """

    config_fields = ("requant", "act_bits", "acc_bits")

    def __init__(self, config: AcceleratorConfig, *, positions: int = 1, terms: int = 1):
        self.config = config
        self.positions = positions
        self.terms = terms
        self.latency = requantizer_latency(config)
        #: Cycles from an accumulator to its limits: they are compared in the last but one.
        self.limits_after = self.latency - 2
        sums = data.ArrayLayout(signed(config.acc_bits), terms)
        super().__init__({
            "acc": In(data.ArrayLayout(sums, positions)),
            "param": In(param_layout(config)),
            "low": In(signed(config.act_bits)),
            "high": In(signed(config.act_bits)),
            "next_code": Out(data.ArrayLayout(signed(config.act_bits), positions)),
            "code": Out(data.ArrayLayout(signed(config.act_bits), positions)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        addend, stages = self._prepared(m)
        low = Signal.like(self.low)
        high = Signal.like(self.high)
        m.d.data += [low.eq(self.low), high.eq(self.high)]
        for position in range(self.positions):
            total = self._total(m, addend, position)
            shifted, excess = self._shifted(m, total, stages, position)
            value = self._register(signed(self.config.act_bits), "value", position)
            # Bits above the value, some at a time: whether one of them differs from the sign.
            excesses = self._register(len(excess), "excesses", position)
            m.d.data += [value.eq(Cat(shifted, total[-1])), excesses.eq(Cat(excess))]
            below, not_above = self._compared(m, value, excesses.any(), position)
            kept = self._register(signed(self.config.act_bits), "kept", position)
            m.d.data += [
                kept.eq(value),
                self.code[position].eq(self.next_code[position]),
            ]
            chosen = Mux(below, low, Mux(not_above, kept, high))
            m.d.comb += self.next_code[position].eq(chosen)
        return m

    def _register(self, shape: ShapeLike, name: str, position: int) -> Signal:
        return Signal(shape, name=_numbered(name, position))

    def _prepared(self, m: Module) -> tuple[Value, list[tuple[int, Value, Value]]]:
        """What all positions share: the addend, and the stages of the shift.

        A stage handles two bits of the amount, the highest bits first. It is a tuple: number of its
        lower bit; the bits; ``reached``, whose bit i says that the bits are at most i.
        """
        width = addend_bits(self.config)
        shift_bits = min(SHIFT_BITS, width.bit_length())
        addend, shift = self.param.addend, self.param.shift
        if self.config.requant == "scale":
            # Addend and shift wait for the products.
            addend = Signal(signed(width))
            shift = Signal(SHIFT_BITS, name="shift_of_product")
            m.d.data += [addend.eq(self.param.addend), shift.eq(self.param.shift)]
        # A total that is shifted by its width or more leaves only its sign.
        beyond = shift[shift_bits:].any()
        amount = Signal(shift_bits, name="shift")
        m.d.data += amount.eq(shift[:shift_bits])
        # This becomes the registers' set and reset, which take no tables.
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
        """The sum of scaled accumulator and addend, registered."""
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
        """The low bits of ``total >> amount``, and whether the bits above them are lost.

        There are as many low bits as a code has below its sign. Each of the conditions beside them
        says that some bits above differ from the sign. Bits that cannot reach the output any more
        are not shifted.
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
                # These bits lie above the low ones unless this stage shifts by more than i steps.
                part = value[width + (i << low) : width + (i + 1 << low)]
                stays = reached[i] if i < len(reached) else Const(1)
                for first in range(0, len(part), EXCESS_BITS):
                    bits = part[first : first + EXCESS_BITS]
                    excess.append((bits != sign.replicate(len(bits))) & stays)
            value = moved
        # One table of the next cycle combines them, so there are at most so many.
        return value, [*excess[: EXCESS_CONDITIONS - 1], Cat(excess[EXCESS_CONDITIONS - 1 :]).any()]

    def _compared(
        self, m: Module, value: Signal, exceeds: Value, position: int
    ) -> tuple[Signal, Signal]:
        """Registers: the value is below the low limit; it is not above the high one.

        A value that ``exceeds`` the codes is beyond both limits on the side of its sign.
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
                # A value equal to a limit may count as beyond: the code is the same.
                comparison.value.eq(value[-1]),
            ]
            m.d.data += result.eq(comparison.result)
        return below, not_above


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
