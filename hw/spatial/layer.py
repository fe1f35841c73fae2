"""A dense layer as a circuit: an adder graph in stages, then rounding and saturation."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.adders import AdderGraph
from hw.spatial.flow import flow, flow_flags
from hw.spatial.rounding import Rounding, rounded, rounded_constant
from hw.spatial.stages import AdderStages

__all__ = ["DenseLayer", "DensePlan"]


@dataclass(frozen=True, eq=False)
class DensePlan:
    """A layer's circuit.

    name : the layer's name: letters, digits and underscores.
    graph : sums of the layer's rows, constants included.
    constants : one for each row: its sum if it has no term.
    in_bits : bits of each input's word.
    roundings : one for each row.
    out_bits : bits of each output's word.
    levels : additions between registers, at least 1; rounding counts as one.
    """

    name: str
    graph: AdderGraph
    constants: tuple[int, ...]
    in_bits: tuple[int, ...]
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

    @property
    def tables(self) -> int:
        """Look-up tables of the additions, estimated."""
        return self.graph.tables


class DenseLayer(Component):
    """``out[o] = clip((multiplier[o] * (weight[o] @ in) + constant[o]) >> shift[o])``.

    One vector per cycle; latency ``plan.latency`` cycles. Outputs come from registers.

    Members
    -------
    i, o : a :func:`flow` each, of the words of all inputs and of all outputs
    """

    def __init__(self, plan: DensePlan):
        self.plan = plan
        super().__init__({
            "i": In(flow(sum(plan.in_bits))),
            "o": Out(flow(len(plan.graph.outputs) * plan.out_bits)),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return f"nbqnn_dense_{self.plan.name}"

    def build(self) -> Module:
        m = Module()
        plan, words, start = self.plan, [], 0
        for bits in plan.in_bits:
            words.append(self.i.payload.data[start : start + bits])
            start += bits
        stages = AdderStages(m, plan.graph, words, plan.levels)
        codes = [self._code(m, stages, row) for row in range(len(plan.graph.outputs))]
        valid, first = flow_flags(m, self.i, plan.latency)
        m.d.comb += [
            self.o.payload.data.eq(Cat(*codes)),
            self.o.payload.first.eq(first[-1]),
            self.o.valid.eq(valid[-1]),
        ]
        return m

    def _code(self, m: Module, stages: AdderStages, row: int) -> Value:
        """The row's output, from registers at the end of the last stage."""
        plan, rounding = self.plan, self.plan.roundings[row]
        term = plan.graph.outputs[row]
        if term is None:
            return Const(rounded_constant(rounding, plan.constants[row]), plan.out_bits)
        total = Cat(Const(0, term.shift), stages.at(term.value, plan.latency - 1))
        ends = plan.graph.scaled(term)
        register = Signal(plan.out_bits, name=f"o{row}", reset_less=True)
        m.d.sync += register.eq(rounded(m, str(row), rounding, total, ends, plan.out_bits))
        return register
