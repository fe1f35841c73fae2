# amaranth: UnusedElaboratable=no
"""A DSP block of four lanes is four multiplications; words wait in registers."""

from itertools import product
from pathlib import Path

import pytest

from hw.rtl.array.quad import DspQuad, QuadFactor
from hw.rtl.array.wait import Wait
from hw.rtl.ultrascale.quad import UltrascaleDspQuad, UltrascaleQuadFactor, UltrascaleWait
from hw.rtl.verilog import emit
from tests.formal.proofs import equivalent, proven
from tests.nightly import NIGHTLY

MODEL = Path(__file__).with_name("dsp48e2.v").read_text(encoding="utf-8")

#: Bits of activations and of weights. The last two fill one of the block's ports each.
WIDTHS = {"a8_w3": (8, 3), "a4_w2": (4, 2), "a9_w2": (9, 2), "a2_w4": (2, 4)}
QUICK = ("a8_w3", "a4_w2")
DEPTH = DspQuad.latency + 3


def modules(kind, act_bits, weight_bits):
    block, factor = {
        "plain": (DspQuad, QuadFactor),
        "explicit": (UltrascaleDspQuad, UltrascaleQuadFactor),
    }[kind]
    made = block(act_bits=act_bits, weight_bits=weight_bits)
    text = emit(made) + emit(factor(weight_bits=weight_bits))
    return text + (MODEL if kind == "explicit" else ""), made


def claim(block, codes):
    """Verilog that compares the block's fields with four products.

    Activations are anything. The steps before and after it have other codes.
    """
    act, bits = block.act_bits, block.weight_bits
    rest, width = 1 << bits - 1, act + (1 << bits - 1) - 2
    products = []
    for code in codes:
        index, negative = code & ((1 << bits - 1) - 1), code >> bits - 1
        size = (1 << index) >> 1
        for pixel in "lr":
            # Inverted in place of negated: one too little. Plus half the range.
            products.append(f"{pixel} * ({'-' * negative}{size}) - {negative} + {1 << width - 1}")
    sums = "\n".join(
        f"  wire signed [{width}:0] sum_{i} = {text};" for i, text in enumerate(products)
    )
    wanted = ", ".join(f"sum_{i}[{width - 1}:0]" for i in reversed(range(4)))
    low, high = codes
    return f"""
module claim(input clk, input rst, input [{2 * act - 1}:0] act);
  reg [3:0] age;
  always @(posedge clk) age <= rst ? 0 : age == 15 ? age : age + 1;
  wire [{bits - 1}:0] low = age == 0 ? {low} : ~{bits}'d{low};
  wire [{bits - 1}:0] high = age == 0 ? {high} : ~{bits}'d{high};
  wire [{2 * rest - 1}:0] rest;
  wire one, any;
  reg [{2 * rest - 1}:0] late_rest;
  reg [1:0] late_negative;
  wire [1:0] negative = {{high[{bits - 1}], low[{bits - 1}]}};
  always @(posedge clk) begin
    late_rest <= rest;
    late_negative <= negative;
  end
  nbqnn_quad_factor_weight_bits{bits} factor(
    .clk(clk), .rst(rst), .code({{high, low}}), .rest(rest), .one(one), .any(any)
  );
  wire [{4 * width - 1}:0] fields;
  {block.module_name} block(
    .clk(clk), .rst(rst), .act(act), .rest(rest), .one(one), .any(any), .negative(negative),
    .late_rest(late_rest), .late_negative(late_negative), .fields(fields)
  );
  wire signed [{act - 1}:0] l = act[{act - 1}:0], r = act[{2 * act - 1}:{act}];
{sums}
  reg [{4 * width - 1}:0] wanted;
  always @(posedge clk) if (age == 0) wanted <= {{{wanted}}};
  always @* if (!rst && age == {DspQuad.latency}) assert(fields == wanted);
endmodule
"""


def chosen_codes(weight_bits):
    """Codes of both filters: each with each other, or each with two."""
    count = 1 << weight_bits
    if NIGHTLY and count <= 8:
        return list(product(range(count), repeat=2))
    pairs = [(code, other) for code in range(count) for other in (code * 5 + 3, count - 1 - code)]
    return [(code, other % count) for code, other in pairs][:: 1 if NIGHTLY else 5]


@pytest.mark.parametrize("name", WIDTHS if NIGHTLY else QUICK)
@pytest.mark.parametrize("kind", ["plain", "explicit"])
def test_block_is_four_multiplications(kind, name, tmp_path):
    """For all activations, whatever the block's registers held."""
    text, block = modules(kind, *WIDTHS[name])
    for codes in chosen_codes(block.weight_bits):
        assert proven(text + claim(block, codes), "claim", tmp_path, depth=DEPTH), codes


BROKEN = [
    (".ALUMODE(4'h1)", ".ALUMODE(4'h3)"),
    (".ADREG(32'd0)", ".ADREG(32'd1)"),
    (".OPMODE(9'h135)", ".OPMODE(9'h0b5)"),
    (".BREG(32'd1)", ".BREG(32'd2)"),
    (".CREG(32'd1)", ".CREG(32'd0)"),
    (".INMODE(5'h04)", ".INMODE(5'h0c)"),
]


@pytest.mark.parametrize(("right", "wrong"), BROKEN if NIGHTLY else BROKEN[:2])
def test_another_use_of_the_block_is_found(right, wrong, tmp_path):
    text, block = modules("explicit", *WIDTHS["a4_w2"])
    assert right in text
    text = text.replace(right, wrong) + claim(block, (1, 3))
    assert not proven(text, "claim", tmp_path, depth=DEPTH)


@pytest.mark.parametrize(
    ("right", "wrong"), [("* (-1)", "* (1)"), ("late_rest <= ", "late_rest = ~")]
)
def test_another_product_is_found(right, wrong, tmp_path):
    text, block = modules("plain", *WIDTHS["a4_w2"])
    claimed = claim(block, (1, 3))
    assert right in claimed
    text += claimed.replace(right, wrong)
    assert not proven(text, "claim", tmp_path, depth=DEPTH)


@pytest.mark.parametrize("weight_bits", [2, 3, 4])
def test_tables_of_both_weights_do_the_same(weight_bits, tmp_path):
    plain = QuadFactor(weight_bits=weight_bits)
    explicit = UltrascaleQuadFactor(weight_bits=weight_bits)
    assert equivalent(emit(plain), emit(explicit), plain.module_name, tmp_path)


def test_registers_that_stay_registers_do_the_same(tmp_path):
    plain, explicit = (kind(bits=3, cycles=2) for kind in (Wait, UltrascaleWait))
    assert equivalent(emit(plain), emit(explicit), plain.module_name, tmp_path)
