"""Stream components neither lose nor duplicate words, in the cycles that are searched."""

import pytest

from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.skid import SkidBuffer
from hw.rtl.verilog import emit
from tests.formal.proofs import proven

#: Cycles after a reset that are searched: the queue full, empty and around its end again.
DEPTH = 16
#: Component, words it can hold, cycles from a word's arrival to its offer in an empty one.
PARTS = {
    "skid": (lambda: SkidBuffer(2), 2, 1),
    "fifo_3": (lambda: StreamFifo(2, 3), 3, 2),
    "fifo_4": (lambda: StreamFifo(2, 4), 4, 2),
}


def claim(part, capacity, latency):
    """Verilog that picks any one word, numbers words on both sides and waits for the one picked."""
    roomy = ".roomy(roomy)," if "roomy" in part.signature.members else ""
    return f"""
module claim(
  input clk, input rst, input [1:0] i_payload, input i_valid, input o_ready, input [4:0] picked
);
  wire i_ready, o_valid;
  wire [1:0] o_payload;
  wire roomy;
  {part.module_name} part(
    {roomy}
    .clk(clk), .rst(rst),
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready)
  );
  reg [4:0] pushed, popped, number;
  reg [1:0] word, held;
  reg [2:0] waited;
  reg holding, roomed;
  wire push = i_valid && i_ready, pop = o_valid && o_ready;
  always @(posedge clk) begin
    number <= rst ? picked : number;
    pushed <= rst ? 0 : pushed + push;
    popped <= rst ? 0 : popped + pop;
    if (push && pushed == number) word <= i_payload;
    // Cycles in which a word is inside and none is offered.
    waited <= rst || o_valid || pushed == popped ? 0 : waited + 1;
    holding <= !rst && o_valid && !o_ready;
    held <= o_payload;
    roomed <= !rst && roomy && {int(bool(roomy))};
  end
  always @* if (!rst) begin
    assert(!o_valid || popped != pushed);
    assert(pushed - popped <= {capacity});
    assert(!(o_valid && popped == number && pushed > number) || o_payload == word);
    assert(waited < {latency});
    assert(i_ready || pushed - popped > 1);
    assert(!roomed || i_ready);
    assert(!holding || (o_valid && o_payload == held));
  end
endmodule
"""


def text_of(name):
    create, capacity, latency = PARTS[name]
    part = create()
    return emit(part) + claim(part, capacity, latency)


@pytest.mark.parametrize("name", PARTS)
def test_words_pass_once_and_in_order(name, tmp_path):
    assert proven(text_of(name), "claim", tmp_path, depth=DEPTH)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # The part takes a word that the source does not count, or gives one twice.
        (".i__valid(i_valid)", ".i__valid(i_valid || !o_ready)"),
        (".o__ready(o_ready)", ".o__ready(o_ready && !i_valid)"),
        (".i__payload(i_payload)", ".i__payload(i_payload ^ pushed[2])"),
    ],
    ids=["one too many", "twice", "changed"],
)
def test_a_part_that_does_not_is_found(name, right, wrong, tmp_path):
    text = text_of(name)
    assert text.count(right) == 1
    assert not proven(text.replace(right, wrong), "claim", tmp_path, depth=DEPTH)
