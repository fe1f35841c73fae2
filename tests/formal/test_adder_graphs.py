"""Optimized adder graphs equal plain sums of products, for all inputs."""

import numpy as np
import pytest
from amaranth.hdl import Cat, Const, Module
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.rtl.verilog import emit
from hw.spatial.adders import AdderGraph
from hw.spatial.sharing import adder_graph
from hw.spatial.stages import AdderStages
from tests.formal.proofs import proven

#: Sums in another order are hard to prove: few inputs, narrow ones.
_BITS = 2
_WIDTH = 14

#: Rows, inputs, signed inputs, multipliers.
CASES = {
    "shared": (4, 5, False, [1, 1, 1, 1]),
    "signed": (4, 4, True, [1, 1, 1, 1]),
    "scaled": (2, 3, True, [7, 45]),
}


class GraphRows(Component):
    """All rows of an adder graph, without registers, in ``_WIDTH`` bits each."""

    def __init__(self, graph: AdderGraph):
        self.graph = graph
        rows = len(graph.outputs)
        super().__init__({"i": In(graph.inputs * _BITS), "o": Out(rows * _WIDTH)})

    @property
    def module_name(self) -> str:
        return "rows"

    def build(self) -> Module:
        m = Module()
        words = [self.i.word_select(n, _BITS) for n in range(self.graph.inputs)]
        stages = AdderStages(m, self.graph, words, 1 << 20)
        rows = []
        for term in self.graph.outputs:
            value = Cat(Const(0, term.shift), stages.at(term.value, 0))
            signed = self.graph.ranges[term.value][0] < 0
            sign = value[-1] if signed else Const(0, 1)
            rows.append(Cat(value, sign.replicate(_WIDTH - len(value))))
        m.d.comb += self.o.eq(Cat(*rows))
        return m


def _matrix(rows: int, inputs: int) -> np.ndarray:
    random = np.random.default_rng(rows * 100 + inputs)
    weight = random.choice([1, 2, 4], (rows, inputs)) * random.choice([-1, 1], (rows, inputs))
    weight[:, 1:][random.random((rows, inputs - 1)) < 0.2] = 0
    return weight


def _claim(graph: AdderGraph, weight, signed: bool, multipliers, constants) -> str:
    """Verilog that asserts what each row is, in products and sums of Verilog's own."""
    inputs = weight.shape[1]
    lines = []
    for row, weights in enumerate(weight):
        terms = []
        for n, w in enumerate(weights):
            word = f"x[{_BITS * n} +: {_BITS}]"
            padded = word if signed else "{1'b0, " + word + "}"
            terms.append(f"$signed({padded}) * ({w})")
        lines.append(
            f"  wire signed [{_WIDTH - 1}:0] row{row} = "
            f"({' + '.join(terms)}) * {multipliers[row]} + ({constants[row]});\n"
            f"  always @* assert (o[{_WIDTH * row} +: {_WIDTH}] == row{row});"
        )
    return f"""{emit(GraphRows(graph))}
module claim(input [{inputs * _BITS - 1}:0] x);
  wire [{len(weight) * _WIDTH - 1}:0] o;
  rows rows(.clk(1'b0), .rst(1'b0), .i(x), .o(o));
{chr(10).join(lines)}
endmodule
"""


@pytest.mark.parametrize("case", list(CASES))
def test_rows_are_sums_of_products(case, tmp_path):
    rows, inputs, signed, multipliers = CASES[case]
    weight, constants = _matrix(rows, inputs), [3, -20, 0, 7][:rows]
    ends = (-2, 1) if signed else (0, 3)
    graph = adder_graph(weight, [ends] * inputs, constants, multipliers)
    assert len(graph.additions) < np.count_nonzero(weight)
    assert proven(_claim(graph, weight, signed, multipliers, constants), "claim", tmp_path)


def test_another_weight_is_no_proof(tmp_path):
    weight = _matrix(3, 4)
    graph = adder_graph(weight, [(0, 3)] * 4, [0, 0, 0])
    weight[1, 0] *= 2
    assert not proven(_claim(graph, weight, False, [1] * 3, [0] * 3), "claim", tmp_path)
