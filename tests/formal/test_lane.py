"""A lane's logic equals the multiplication, for every activation and every code."""

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.rtl.array.svpe import Svpe
from hw.rtl.component import Component
from hw.rtl.ultrascale.elements import LaneProduct
from hw.rtl.verilog import emit
from tests.formal.proofs import inverted_tables, proven
from tests.nightly import NIGHTLY

#: Activation bits, weight bits.
WIDTHS = [(8, 2), (8, 3), (8, 4), (16, 3), (16, 4), (5, 5), (4, 6)]


class Lane(Component):
    """The logic of one lane of a processing element, as all families but UltraScale+ have it."""

    module_name = "lane"

    def __init__(self, act_bits, weight_bits, lanes):
        self.element = Svpe(
            lanes=lanes,
            act_bits=act_bits,
            weight_bits=weight_bits,
            stored_bits=weight_bits,
            acc_bits=40,
        )
        self.element._MustUse__silence = True
        width = self.element.product_shape.width
        super().__init__({
            "act": In(act_bits), "weight": In(weight_bits), "product": Out(width)
        })  # fmt: skip

    def build(self):
        m = Module()
        product = self.element._product(m, 0, self.act.as_signed(), self.weight)
        m.d.comb += self.product.eq(product)
        return m


def claim(lane, act_bits, weight_bits, offset):
    """Verilog that asserts what ``lane`` computes, in terms of a multiplication."""
    width = act_bits + 2 ** (weight_bits - 1) - 2
    value = f"$signed({{1'b0, product}}) - {1 << width - 1}" if offset else "$signed(product)"
    return f"""
module claim(input signed [{act_bits - 1}:0] act, input [{weight_bits - 1}:0] code);
  wire [{width - 1}:0] product;
  {lane} lane(.clk(1'b0), .rst(1'b0), .act(act), .weight(code), .product(product));
  wire [{weight_bits - 2}:0] index = code[{weight_bits - 2}:0];
  wire negative = code[{weight_bits - 1}];
  wire signed [{width}:0] magnitude = index == 0 ? 0 : 1 << (index - 1);
  wire signed [{width}:0] weight = negative ? -magnitude : magnitude;
  wire signed [{width}:0] exact = weight * act;
  wire signed [{width}:0] value = {value};
  // Inverted in place of negated: one too little.
  wire signed [{width}:0] folded = exact - $signed({{1'b0, negative}});
  always @* assert(value == folded);
endmodule
"""


@pytest.mark.parametrize("lanes", [1, 2], ids=["signed", "offset"])
@pytest.mark.parametrize(("act_bits", "weight_bits"), WIDTHS)
def test_lane_is_the_multiplication(act_bits, weight_bits, lanes, tmp_path):
    cell = LaneProduct(act_bits=act_bits, weight_bits=weight_bits, offset=lanes > 1)
    for lane in (Lane(act_bits, weight_bits, lanes), cell):
        text = emit(lane) + claim(lane.module_name, act_bits, weight_bits, lanes > 1)
        assert proven(text, "claim", tmp_path), lane


@pytest.mark.parametrize(("act_bits", "weight_bits"), [(8, 3), (4, 4)])
def test_every_table_of_a_lane_matters(act_bits, weight_bits, tmp_path):
    cell = LaneProduct(act_bits=act_bits, weight_bits=weight_bits, offset=True)
    text = emit(cell) + claim(cell.module_name, act_bits, weight_bits, True)
    broken = inverted_tables(text)
    assert len(broken) == {(8, 3): 8, (4, 4): 11}[act_bits, weight_bits]
    for wrong in broken if NIGHTLY else broken[::4]:
        assert not proven(wrong, "claim", tmp_path)


def test_a_wrong_constant_is_found(tmp_path):
    lane = Lane(8, 3, 2)
    text = emit(lane) + claim("lane", 8, 3, True).replace("exact - ", "exact + ")
    assert not proven(text, "claim", tmp_path)
