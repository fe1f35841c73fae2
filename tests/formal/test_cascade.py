# amaranth: UnusedElaboratable=no
"""A cascade of DSP blocks is two sums of multiplications; shift registers delay by their lanes."""

from pathlib import Path

import pytest

from hw.rtl.array.cascade import DspCascade, NegatedFactor
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.ultrascale.dsp import (
    UltrascaleDspCascade,
    UltrascaleNegatedFactor,
    UltrascaleShiftLines,
)
from hw.rtl.verilog import emit
from tests.formal.proofs import proven
from tests.nightly import NIGHTLY

MODEL = Path(__file__).with_name("dsp48e2.v").read_text(encoding="utf-8")

#: Name -> lanes, bits of activations, of weights and of the fields. The last two have fields as
#: wide as a block takes.
WIDTHS = {
    "a8_w3": (2, 8, 3, 11),
    "a5_w2": (3, 5, 2, 8),
    "a8_w4": (2, 8, 4, 19),
    "a16_w3": (2, 16, 3, 23),
}
QUICK = ("a8_w3", "a5_w2")


def modules(kind, lanes, act_bits, weight_bits, field_bits):
    cascade, factor = {
        "plain": (DspCascade, NegatedFactor),
        "explicit": (UltrascaleDspCascade, UltrascaleNegatedFactor),
    }[kind]
    made = cascade(
        lanes=lanes, act_bits=act_bits, factor_bits=1 << weight_bits - 1, field_bits=field_bits
    )
    text = emit(made) + emit(factor(weight_bits=weight_bits))
    return text + (MODEL if kind == "explicit" else ""), made.module_name


def claim(cascade, lanes, act_bits, weight_bits, field_bits, codes):
    """Verilog that compares a cascade's fields with both sums of products.

    Activations are anything. ``codes`` holds the codes of a step, those of lane 0 first: each is a
    pair, of both filters. The steps before and after it have other codes.
    """
    delay = lanes - 1 + DspCascade.latency
    factor_bits = 1 << weight_bits - 1
    parts, sums, later = [], ["0", "0"], {name: [] for name in ("act", "low", "high")}
    later |= {"low_lacks": [], "high_lacks": []}
    for lane, pair in enumerate(codes):
        parts.append(f"""
  reg signed [{act_bits - 1}:0] act_{lane} [0:{lanes}];
  always @* act_{lane}[0] = act[{lane * act_bits} +: {act_bits}];
  always @(posedge clk)
    for (i = 1; i <= {lanes}; i = i + 1) act_{lane}[i] <= act_{lane}[i - 1];""")
        later["act"].append(f"act_{lane}[{lane}]")
        for filter_, (name, code) in enumerate(zip(("low", "high"), pair, strict=True)):
            one = f"{name}_{lane}"
            other = code ^ ((1 << weight_bits) - 1)
            parts.append(f"""
  wire [{weight_bits - 1}:0] code_{one} = age == {lane} ? {code} : {other};
  wire lacks_{one} = (age == {lane + 2} ? {code} : {other}) >> {weight_bits - 1};
  wire [{factor_bits - 1}:0] factor_{one};
  nbqnn_negated_factor_weight_bits{weight_bits} f_{one}(
    .clk(clk), .rst(rst), .code(code_{one}), .factor(factor_{one})
  );""")
            later[name].append(f"factor_{one}")
            later[f"{name}_lacks"].append(f"lacks_{one}")
            index, negative = code & ((1 << weight_bits - 1) - 1), code >> weight_bits - 1
            size = (1 << index) >> 1
            weight = f"-{size}" if negative else f"{size}"
            # Inverted in place of negated: one too little.
            sums[filter_] += f" + act_{lane}[0] * ({weight}) - {negative}"
    connections = ", ".join(
        f".{name}({{{', '.join(reversed(values))}}})" for name, values in later.items()
    )
    return f"""
module claim(input clk, input rst, input [{lanes * act_bits - 1}:0] act);
  integer i;
  reg [3:0] age;
  always @(posedge clk) age <= rst ? 0 : age == 15 ? age : age + 1;
{"".join(parts)}
  wire [{2 * field_bits - 1}:0] fields;
  {cascade} cascade(.clk(clk), .rst(rst), {connections}, .fields(fields));
  wire signed [{field_bits - 1}:0] low_sum = {sums[0]};
  wire signed [{field_bits - 1}:0] high_sum = {sums[1]};
  reg [{field_bits - 1}:0] low, high;
  always @(posedge clk) if (age == 0) begin
    low <= low_sum + {1 << field_bits - 1};
    high <= high_sum + {1 << field_bits - 1};
  end
  always @* if (!rst && age == {delay}) assert(fields == {{high, low}});
endmodule
"""


def chosen_codes(lanes, weight_bits):
    """Codes of a step: each code with two others, negative zeros among them, in each lane."""
    count = 1 << weight_bits
    steps = []
    for code in range(count):
        for other in (code * 5 + 3, count - 1 - code):
            steps.append(
                [((code + 3 * lane) % count, (other + lane) % count) for lane in range(lanes)]
            )
    return steps if NIGHTLY else steps[::5]


def depth(lanes):
    """The reset's cycle, and those until the first step's sums."""
    return lanes + DspCascade.latency + 2


@pytest.mark.parametrize("name", WIDTHS if NIGHTLY else QUICK)
@pytest.mark.parametrize("kind", ["plain", "explicit"])
def test_cascade_is_two_sums_of_multiplications(kind, name, tmp_path):
    """For all activations, whatever the blocks' registers held."""
    widths = WIDTHS[name]
    text, cascade = modules(kind, *widths)
    for codes in chosen_codes(widths[0], widths[2]):
        claimed = text + claim(cascade, *widths, codes)
        assert proven(claimed, "claim", tmp_path, depth=depth(widths[0])), codes


#: Of both filters, in three lanes.
CODES = [(1, 3), (3, 2), (0, 1)]


BROKEN = [
    (".ALUMODE(4'h2)", ".ALUMODE(4'h3)"),
    (".BREG(32'd2)", ".BREG(32'd1)"),
    (".OPMODE(9'h135)", ".OPMODE(9'h0b5)"),
    (".ALUMODE(4'h3)", ".ALUMODE(4'h0)"),
    (".CREG(32'd1)", ".CREG(32'd0)"),
    (".INMODE(5'h04)", ".INMODE(5'h0c)"),
    (".PCIN(pc_0)", ".PCIN(48'h0)"),
]


@pytest.mark.parametrize(("right", "wrong"), BROKEN if NIGHTLY else BROKEN[:2])
def test_another_use_of_the_block_is_found(right, wrong, tmp_path):
    widths = WIDTHS["a5_w2"]
    text, cascade = modules("explicit", *widths)
    assert right in text
    text = text.replace(right, wrong) + claim(cascade, *widths, CODES)
    assert not proven(text, "claim", tmp_path, depth=depth(widths[0]))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("age == 2 ?", "age == 1 ?"), ("* (-1)", "* (1)"), ("act_1[1]", "act_1[0]")],
)
def test_another_sum_is_found(right, wrong, tmp_path):
    widths = WIDTHS["a5_w2"]
    text, cascade = modules("plain", *widths)
    claimed = claim(cascade, *widths, CODES)
    assert right in claimed
    text += claimed.replace(right, wrong)
    assert not proven(text, "claim", tmp_path, depth=depth(widths[0]))


def lines_claim(lines):
    """Verilog that keeps the words of the last 32 cycles."""
    bits, lanes = lines.bits, lines.lanes
    checks = "\n".join(
        f"    assert(skewed[{lane * bits} +: {bits}] == "
        f"words[{lines.delay(lane)}][{lane * bits} +: {bits}]);"
        for lane in range(lanes)
    )
    return f"""
module claim(input clk, input rst, input [{lanes * bits - 1}:0] word);
  wire [{lanes * bits - 1}:0] skewed, late;
  {lines.module_name} lines(
    .clk(clk), .rst(rst), .word(word), .skewed(skewed), .late(late)
  );
  reg [{lanes * bits - 1}:0] words [0:32];
  integer i;
  always @* words[0] = word;
  always @(posedge clk) for (i = 1; i <= 32; i = i + 1) words[i] <= words[i - 1];
  reg [5:0] age;
  always @(posedge clk) age <= rst ? 0 : age == 40 ? age : age + 1;
  always @* if (!rst && age >= 32) begin
{checks}
    assert(late == words[32]);
  end
endmodule
"""


LINES = {"lanes": 4, "bits": 2, "length": 2, "first": 31}


@pytest.mark.parametrize("kind", [ShiftLines, UltrascaleShiftLines])
def test_lines_delay_lane_by_lane(kind, tmp_path):
    lines = kind(**LINES)
    assert proven(emit(lines) + lines_claim(lines), "claim", tmp_path, depth=36)


def test_another_delay_is_found(tmp_path):
    lines = UltrascaleShiftLines(**LINES)
    text = emit(lines)
    assert ".A(5'h1f)" in text
    text = text.replace(".A(5'h1f)", ".A(5'h1e)") + lines_claim(lines)
    assert not proven(text, "claim", tmp_path, depth=36)
