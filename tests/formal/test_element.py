"""Whole processing elements: explicit cells against the original, both against sums in Verilog."""

import pytest

from hw.rtl.array.cascade import CascadeSum
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.array.taps import TapSvpe
from hw.rtl.ultrascale.elements import (
    UltrascaleCascadeSum,
    UltrascaleSvpe,
    UltrascaleTapSvpe,
    UltrascaleVpe,
)
from hw.rtl.verilog import emit
from tests.formal.proofs import equivalent, inverted_tables, proven
from tests.nightly import NIGHTLY

#: Cycles that are searched behind those after a reset in which no step may come: enough for three
#: steps in two outputs, and their results.
DEPTH = 7


def options(lanes, act_bits, weight_bits, acc_bits, stored_bits=None):
    return {
        "lanes": lanes,
        "act_bits": act_bits,
        "weight_bits": weight_bits,
        "stored_bits": stored_bits or weight_bits,
        "acc_bits": acc_bits,
    }


#: All have sums of several levels or an odd number of terms.
ELEMENTS = {
    "l4_a8_w3": (Svpe, UltrascaleSvpe, options(4, 8, 3, 20)),
    "l16_a8_w3": (Svpe, UltrascaleSvpe, options(16, 8, 3, 20)),
    "l5_a4_w4": (Svpe, UltrascaleSvpe, options(5, 4, 4, 16)),
    "l9_a4_w2": (Svpe, UltrascaleSvpe, options(9, 4, 2, 12)),
    "l1_a8_w3": (Svpe, UltrascaleSvpe, options(1, 8, 3, 16)),
    "three_taps": (TapSvpe, UltrascaleTapSvpe, options(3, 8, 3, 24)),
    "three_taps_that_grow": (
        TapSvpe,
        UltrascaleTapSvpe,
        options(3, 8, 3, 24) | {"radix_bits": 2, "exact": True},
    ),
    "one_cascade": (
        CascadeSum,
        UltrascaleCascadeSum,
        {"count": 1, "field_bits": 13, "acc_bits": 20, "latency": 4},
    ),
    "two_cascades": (
        CascadeSum,
        UltrascaleCascadeSum,
        {"count": 2, "field_bits": 15, "acc_bits": 24, "latency": 6},
    ),
    "four_cascades": (
        CascadeSum,
        UltrascaleCascadeSum,
        {"count": 4, "field_bits": 11, "acc_bits": 14, "latency": 6},
    ),
    "v_l4_a4": (Vpe, UltrascaleVpe, options(4, 4, 2, 12, stored_bits=4)),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_explicit_cells_do_the_same(name, tmp_path):
    """In every cycle, from any state: by induction."""
    original, explicit, opts = ELEMENTS[name]
    top = original(**opts)
    assert equivalent(emit(top), emit(explicit(**opts)), top.module_name, tmp_path)


def test_a_different_table_is_found(tmp_path):
    original, explicit, opts = ELEMENTS["l4_a8_w3"]
    top = original(**opts)
    broken = inverted_tables(emit(explicit(**opts)))
    assert not equivalent(emit(top), broken[-3], top.module_name, tmp_path)


def claim(element):
    """Verilog that adds up all products of a step at once and delays the results."""
    lanes, act_bits, acc_bits = element.lanes, element.act_bits, element.acc_bits
    stored_bits, delay = element.stored_bits, element.latency - 1
    products = []
    for lane in range(lanes):
        act = f"$signed(act[{lane * act_bits} +: {act_bits}])"
        index = f"weight[{lane * stored_bits} +: {stored_bits - 1}]"
        sign = f"weight[{lane * stored_bits + stored_bits - 1}]"
        products.append(
            f"  wire signed [{acc_bits - 1}:0] p{lane} = {index} == 0 ? 0 : "
            f"({act} <<< ({index} - 1));\n"
            f"  wire signed [{acc_bits - 1}:0] q{lane} = {sign} ? ~p{lane} : p{lane};\n"
        )
    return f"""
module claim(
  input clk, input rst, input valid, input first, input last,
  input [{lanes * act_bits - 1}:0] act, input [{lanes * stored_bits - 1}:0] weight
);
  wire [{acc_bits - 1}:0] acc;
  {element.module_name} element(
    .clk(clk), .rst(rst), .valid(valid), .first(first), .last(valid && last),
    .act(act), .weight(weight), .acc(acc)
  );
{"".join(products)}
  reg signed [{acc_bits - 1}:0] running;
  wire signed [{acc_bits - 1}:0] total =
    (first ? 0 : running) + {" + ".join(f"q{lane}" for lane in range(lanes))};
  always @(posedge clk) if (valid) running <= total;
  // A sum means something once an output has begun.
  reg begun;
  always @(posedge clk) begun <= !rst && (begun || (valid && first));
  reg [{acc_bits - 1}:0] sums [0:{delay}];
  reg [{delay}:0] done, known;
  integer i;
  always @(posedge clk) begin
    sums[0] <= total;
    done[0] <= !rst && valid && last;
    known[0] <= begun || first;
    for (i = 1; i <= {delay}; i = i + 1) begin
      sums[i] <= sums[i - 1];
      done[i] <= !rst && done[i - 1];
      known[i] <= known[i - 1];
    end
  end
  // Flags that a reset finds on their way leave before the first step.
  reg [3:0] age;
  wire settled = age == {element.latency};
  always @(posedge clk) age <= rst ? 0 : settled ? age : age + 1;
  always @* assume(rst || settled || !valid);
  // And stays until the next.
  reg [{acc_bits - 1}:0] held;
  reg holds;
  always @(posedge clk) begin
    held <= acc;
    holds <= settled;
  end
  always @* if (!rst && settled) begin
    assert(!(done[{delay}] && known[{delay}]) || acc == sums[{delay}]);
    assert(!holds || done[{delay}] || acc == held);
  end
endmodule
"""


@pytest.mark.parametrize("lanes", [2, 4] if NIGHTLY else [2])
def test_element_accumulates(lanes, tmp_path):
    """All that can happen in the cycles after a reset."""
    element = Svpe(**options(lanes, 3, 3, 7))
    text = emit(element) + claim(element)
    assert proven(text, "claim", tmp_path, depth=DEPTH + element.latency)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("first ? 0 : running", "first && last ? 0 : running"),
        ("if (valid) running", "if (valid || first) running"),
        ("<= total;\n    done", "<= running;\n    done"),
    ],
)
def test_element_that_differs_is_found(right, wrong, tmp_path):
    element = Svpe(**options(2, 3, 3, 7))
    text = emit(element) + claim(element).replace(right, wrong)
    assert wrong in text
    assert not proven(text, "claim", tmp_path, depth=DEPTH + element.latency)
