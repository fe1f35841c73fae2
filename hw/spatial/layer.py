"""A dense layer as a circuit: an adder graph in stages, then rounding and saturation."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.saturation import Saturation
from hw.rtl.cells.signed_total import SignedTotal
from hw.rtl.component import Component
from hw.spatial.adders import AdderGraph, Addition, Term, interval_bits, lone_bits

__all__ = ["DenseLayer", "DensePlan", "Rounding"]


@dataclass(frozen=True)
class Rounding:
    """What becomes of a sum that holds bias and half: ``clip(sum >> shift, low, high)``."""

    shift: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class DensePlan:
    """All that a layer's circuit is made of.

    name : of the layer: letters, digits and underscores.
    graph : sums of the layer's rows, constants included.
    constants : what rows without a term sum up to.
    in_bits : of each input's word.
    roundings : one for each row.
    out_bits : of each output's word.
    levels : additions between registers, at least 1; rounding counts as one.
    """

    name: str
    graph: AdderGraph
    constants: tuple[int, ...]
    in_bits: int
    roundings: tuple[Rounding, ...]
    out_bits: int
    levels: int

    @property
    def depth(self) -> int:
        """Additions and the rounding on the longest way through the layer."""
        outputs = self.graph.outputs
        return 1 + max((self.graph.depths[o.value] for o in outputs if o is not None), default=0)

    @property
    def latency(self) -> int:
        """Cycles from the inputs to the outputs' registers."""
        return -(-self.depth // self.levels)


class DenseLayer(Component):
    """``out[o] = clip((sum over i of weight[o, i] * in[i] + constant[o]) >> shift[o])``.

    One vector per cycle, no backpressure; latency ``plan.latency`` cycles. Outputs come from
    registers, which have no reset.

    Members
    -------
    i : ``In(inputs * in_bits)``, input 0 in the low bits
    o : ``Out(outputs * out_bits)``, output 0 in the low bits
    """

    def __init__(self, plan: DensePlan):
        self.plan = plan
        super().__init__({
            "i": In(plan.graph.inputs * plan.in_bits),
            "o": Out(len(plan.graph.outputs) * plan.out_bits),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return f"nbqnn_dense_{self.plan.name}"

    def build(self) -> Module:
        return _Circuit(self).build()


class _Circuit:
    """Builds one layer; values are made in the stage of their depth and delayed to later ones."""

    def __init__(self, layer: DenseLayer):
        self.layer = layer
        self.plan = layer.plan
        self.graph = layer.plan.graph
        self.m = Module()
        #: (number of the value, stage) -> its bits there.
        self.bits: dict[tuple[int, int], Value] = {}

    def build(self) -> Module:
        for number in range(self.graph.inputs):
            word = self.layer.i.word_select(number, self.plan.in_bits)
            self.bits[number, 0] = word[: interval_bits(*self.graph.ranges[number])]
        for number, addition in enumerate(self.graph.additions, self.graph.inputs):
            self._add(number, addition)
        words = [self._round(row) for row in range(len(self.graph.outputs))]
        self.m.d.comb += self.layer.o.eq(Cat(*words))
        return self.m

    def _stage(self, depth: int) -> int:
        """The stage in which a value of that depth is made; inputs are there in stage 0."""
        return max(0, depth - 1) // self.plan.levels

    def _at(self, number: int, stage: int) -> Value:
        """A value in a stage, through as many registers as it is later."""
        if (number, stage) not in self.bits:
            before = self._at(number, stage - 1)
            register = Signal(len(before), name=f"v{number}_s{stage}", reset_less=True)
            self.m.d.sync += register.eq(before)
            self.bits[number, stage] = register
        return self.bits[number, stage]

    def _word(self, term: Term, stage: int, width: int, dropped: int) -> Value:
        """A term's bits from bit ``dropped`` upwards, ``width`` of them, not inverted yet.

        Bits below an inverted value are 1: their inverses are 0, as the term has them.
        """
        bits = self._at(term.value, stage)
        low, _ = self.graph.ranges[term.value]
        top = bits[-1] if low < 0 and len(bits) else Const(0, 1)
        fill = Const((1 << term.shift) - 1 if term.inverted else 0, term.shift)
        word = Cat(fill, bits)
        word = Cat(word, top.replicate(max(0, dropped + width - len(word))))
        return word[dropped : dropped + width]

    def _add(self, number: int, addition: Addition) -> None:
        stage = self._stage(self.graph.depths[number])
        width = interval_bits(*self.graph.ranges[number])
        alone = lone_bits(addition)
        rest = width - alone
        plain = [self._word(t, stage, rest, alone) for t in addition.terms if not t.inverted]
        if addition.constant:
            plain.append(Const(addition.constant, rest))
        inverted = [self._word(t, stage, rest, alone) for t in addition.terms if t.inverted]
        cell = SignedTotal(width=rest, plain=len(plain), inverted=len(inverted))
        self.m.submodules[f"add_{number}"] = cell
        self.m.d.comb += cell.terms.eq(Cat(*plain, *inverted))
        value = Signal(width, name=f"v{number}")
        lowest = min(addition.terms, key=lambda term: term.shift)
        own = self._word(lowest, stage, alone, 0) if alone else Const(0, 0)
        self.m.d.comb += value.eq(Cat(own, cell.total))
        self.bits[number, stage] = value

    def _round(self, row: int) -> Value:
        """The row's output, from registers at the end of the last stage."""
        plan, rounding = self.plan, self.plan.roundings[row]
        term = self.graph.outputs[row]
        if term is None:
            code = min(max(plan.constants[row] >> rounding.shift, rounding.low), rounding.high)
            return Const(code, plan.out_bits)
        stage = plan.latency - 1
        bits, (low, high) = self._at(term.value, stage), self.graph.ranges[term.value]
        low, high = (end << term.shift >> rounding.shift for end in (low, high))
        kept = Cat(Const(0, term.shift), bits)[rounding.shift :]
        value = kept.as_signed() if low < 0 else kept
        register = Signal(plan.out_bits, name=f"o{row}", reset_less=True)
        self.m.d.sync += register.eq(self._saturated(row, value, low, high))
        return register

    def _saturated(self, row: int, value: Value, low: int, high: int) -> Value:
        plan, rounding = self.plan, self.plan.roundings[row]
        if rounding.low <= low and high <= rounding.high:
            return value
        signed = rounding.low < 0
        ends = (-(1 << plan.out_bits - 1) if signed else 0, (1 << plan.out_bits - signed) - 1)
        width = interval_bits(min(low, -1), high)
        if (rounding.low, rounding.high) == ends and width > plan.out_bits:
            cell = Saturation(width=width, bits=plan.out_bits, signed=signed)
            self.m.submodules[f"saturate_{row}"] = cell
            self.m.d.comb += cell.value.eq(value)
            return cell.result
        at_least = Mux(value < rounding.low, rounding.low, value)
        return Mux(value > rounding.high, rounding.high, at_least)
