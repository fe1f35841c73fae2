"""A dense layer that takes its inputs digit by digit: narrow sums that all digits share."""

from dataclasses import dataclass
from functools import cached_property

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.adders import AdderGraph, interval_bits
from hw.spatial.flow import flow, flow_flags
from hw.spatial.rounding import Rounding, rounded, rounded_constant
from hw.spatial.stages import AdderStages

__all__ = ["DigitSerialLayer", "DigitSerialPlan", "chosen_digits"]


@dataclass(frozen=True, eq=False)
class DigitSerialPlan:
    """A layer's circuit that takes the digits of its inputs one after the other.

    A row's sum is the sum over all digits d of ``2**(d * digit_bits)`` times the row's sum of the
    digits d of its inputs. Signed words are read as unsigned ones, larger by half their range.

    name : the layer's name: letters, digits and underscores.
    graph : the rows' sums of one digit of each input, without constants. A sum may be off by the
        offset that the graph gives for it.
    constants : one for each row, added to the row's exact sum.
    gains : one for each row: the sum of its weights times its multiplier.
    words, bits, signed : number of inputs, and bits and signedness of each.
    digits, digit_bits : digits of an input, and bits of a digit.
    roundings : one for each row.
    out_bits : bits of each output's word.
    levels : additions between registers, at least 1.
    held : whether the inputs stay until the next slot.
    """

    name: str
    graph: AdderGraph
    constants: tuple[int, ...]
    gains: tuple[int, ...]
    words: int
    bits: int
    signed: bool
    digits: int
    digit_bits: int
    roundings: tuple[Rounding, ...]
    out_bits: int
    levels: int
    held: bool

    @property
    def stages(self) -> int:
        """Registers from the digits to their sums."""
        outputs = [out for out in self.graph.outputs if out is not None]
        return -(-max((self.graph.depths[out.value] for out in outputs), default=0) // self.levels)

    @property
    def latency(self) -> int:
        """Cycles from a slot to its outputs: inputs, digits, sums, accumulation, rounding."""
        return (0 if self.held else 1) + self.stages + self.digits + 2

    def start(self, row: int) -> int:
        """The first value of a row's accumulator."""
        out = self.graph.outputs[row]
        places = sum(1 << place * self.digit_bits for place in range(self.digits))
        half = self.gains[row] << self.bits - 1 if self.signed else 0
        return self.constants[row] - half - places * (self.graph.offset(out) if out else 0)

    @cached_property
    def ranges(self) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
        """For each accumulator (smallest, largest) value: in any cycle, and after the last one."""
        found = []
        for row, out in enumerate(self.graph.outputs):
            low, high = self.graph.scaled(out) if out else (0, 0)
            least = most = self.start(row) << self.digit_bits
            ends = []
            for _ in range(self.digits):
                least, most = (least >> self.digit_bits) + low, (most >> self.digit_bits) + high
                ends.append((least, most))
            found.append(((min(e[0] for e in ends), max(e[1] for e in ends)), ends[-1]))
        return tuple(found)

    @property
    def tables(self) -> int:
        """Look-up tables of additions, accumulation and the choice of digits, estimated."""
        rows = sum(
            interval_bits(*ends)
            for (ends, _), out in zip(self.ranges, self.graph.outputs, strict=True)
            if out is not None
        )
        choice = -(-self.words * self.digit_bits * max(1, self.digits // 2) // 2)
        return self.graph.tables + rows + choice


def chosen_digits(
    m: Module, data: Value, place: Value, words: int, bits: int, signed: bool, digit_bits: int
) -> list[Value]:
    """The digit number ``place`` of each of ``words`` words in ``data``, from registers.

    A signed word is read as an unsigned one, larger by half its range.
    """
    digits, found = -(-bits // digit_bits), []
    for number in range(words):
        word = data.word_select(number, bits)
        if signed:
            word = Cat(word[:-1], ~word[-1])
        word = Cat(word, Const(0, digits * digit_bits - bits))
        choices = [word.word_select(i, digit_bits) for i in range(digits)]
        digit = Signal(digit_bits, name=f"digit_{number}", reset_less=True)
        m.d.sync += digit.eq(Array(choices)[place])
        found.append(digit)
    return found


class DigitSerialLayer(Component):
    """Computes as :class:`hw.spatial.layer.DenseLayer` does, in ``plan.digits`` cycles.

    Slots must be at least ``plan.digits`` cycles apart. The least significant digits come first.
    The accumulator moves down by a digit whenever it takes the next digit's sum, so it is hardly
    wider than that sum. Latency ``plan.latency`` cycles. Outputs come from registers and stay until
    the next ones.

    Members
    -------
    i, o : a :func:`flow` each, of the words of all inputs and of all outputs
    """

    def __init__(self, plan: DigitSerialPlan):
        self.plan = plan
        super().__init__({
            "i": In(flow(plan.words * plan.bits)),
            "o": Out(flow(len(plan.graph.outputs) * plan.out_bits)),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return f"nbqnn_digit_serial_{self.plan.name}"

    def build(self) -> Module:
        m = Module()
        plan = self.plan
        valid, first = flow_flags(m, self.i, plan.latency)
        stages = AdderStages(m, plan.graph, self._digits(m, valid), plan.levels)
        # In cycles after the slot: when the first digit's sums come, and the last accumulation.
        begins = valid[plan.latency - plan.digits - 2]
        ends = valid[plan.latency - 2]
        codes = []
        for row in range(len(plan.graph.outputs)):
            code = self._code(m, stages, row, begins)
            if not isinstance(code, Const):
                register = Signal(plan.out_bits, name=f"o{row}", reset_less=True)
                with m.If(ends):
                    m.d.sync += register.eq(code)
                code = register
            codes.append(code)
        m.d.comb += [
            self.o.payload.data.eq(Cat(*codes)),
            self.o.payload.first.eq(first[-1]),
            self.o.valid.eq(valid[-1]),
        ]
        return m

    def _digits(self, m: Module, valid: Signal) -> list[Value]:
        """One digit of each input, in registers; the first one in the cycle after the slot."""
        plan, data, begins = self.plan, self.i.payload.data, self.i.valid
        if not plan.held:
            held = Signal(len(data), reset_less=True)
            with m.If(self.i.valid):
                m.d.sync += held.eq(data)
            data, begins = held, valid[0]
        place = Signal(range(plan.digits))
        with m.If(begins):
            m.d.sync += place.eq(1)
        with m.Elif(place != 0):
            m.d.sync += place.eq(Mux(place == plan.digits - 1, 0, place + 1))
        return chosen_digits(m, data, place, plan.words, plan.bits, plan.signed, plan.digit_bits)

    def _code(self, m: Module, stages: AdderStages, row: int, begins: Value) -> Value:
        """The row's code, valid when its last digit has been accumulated."""
        plan, rounding = self.plan, self.plan.roundings[row]
        term = plan.graph.outputs[row]
        if term is None:
            return Const(rounded_constant(rounding, plan.constants[row]), plan.out_bits)
        everywhere, end = plan.ranges[row]
        bits = stages.at(term.value, plan.stages)
        sums = Cat(Const(0, term.shift), bits)
        sums = sums.as_signed() if plan.graph.scaled(term)[0] < 0 else sums
        width = interval_bits(min(everywhere[0], -1), everywhere[1])
        total = Signal(width, name=f"total_{row}", reset_less=True)
        above = total.as_signed() >> plan.digit_bits
        m.d.sync += total.eq(Mux(begins, Const(plan.start(row), width), above) + sums)
        # The bits below the last digit; those that left the accumulator first are the lowest.
        below = Signal(plan.digit_bits * (plan.digits - 1), name=f"below_{row}", reset_less=True)
        m.d.sync += below.eq(Cat(below, total[: plan.digit_bits])[plan.digit_bits :])
        places = len(below)
        ends = (end[0] << places, (end[1] << places) + (1 << places) - 1)
        whole = Cat(below, total)[: interval_bits(*ends)]
        return rounded(m, str(row), rounding, whole, ends, plan.out_bits)
