"""hw.rtl.wide_writes: one process writes a row of words, and does what several would do."""

from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.rtl.post.table import Table
from hw.rtl.verilog import emit
from hw.rtl.wide_writes import joined_writes
from tests.formal.proofs import proven

WRITES = [("on", "row", number, f"word[{4 * number + 3}:{4 * number}]") for number in range(4)]


def module(writes, name="part"):
    """A memory of eight words of four bits; ``writes`` are those of a cycle."""
    processes = "".join(
        f"  always @(posedge clk) begin\n    if ({enable})\n"
        f"      cells[{{ {row}, 2'h{number} }}] <= {part};\n  end\n"
        for enable, row, number, part in writes
    )
    return f"""
module {name}(input clk, on, off, row, col, input [2:0] at, input [15:0] word, other,
  output reg [3:0] out);
  reg [3:0] cells [7:0];
{processes}
  always @(posedge clk) out <= cells[at];
endmodule
"""


def claim(plain, joined):
    """Both written first, then read like any memory: their outputs are equal."""
    return f"""{plain}{joined}
module claim(input clk, rst, on, off, row, col, input [2:0] at, input [15:0] word, other);
  wire [3:0] one, two;
  reg [7:0] known = 0, read = 0;
  reg [2:0] last;
  plain a(.clk(clk), .on(on), .off(off), .row(row), .col(col), .at(at), .word(word),
    .other(other), .out(one));
  part b(.clk(clk), .on(on), .off(off), .row(row), .col(col), .at(at), .word(word),
    .other(other), .out(two));
  always @(posedge clk) begin
    known <= rst ? 0 : on ? known | 8'hf << {{row, 2'b00}} : known;
    read <= rst ? 0 : known;
    last <= at;
  end
  always @* assert(!read[last] || one == two);
endmodule
"""


def test_one_process_writes_what_four_write(tmp_path):
    joined = joined_writes(module(WRITES))
    assert joined.count("<= word") == 1
    assert proven(claim(module(WRITES, "plain"), joined), "claim", tmp_path, depth=5)
    broken = joined.replace("row, _number_", "row, ~_number_")
    assert not proven(claim(module(WRITES, "plain"), broken), "claim", tmp_path, depth=5)


@pytest.mark.parametrize(
    ("index", "write"),
    [
        (0, ("off", "row", 0, "word[3:0]")),
        (1, ("on", "col", 1, "word[7:4]")),
        (2, ("on", "row", 1, "word[11:8]")),
        (3, ("on", "row", 3, "other[15:12]")),
        (3, ("on", "row", 3, "word[11:8]")),
    ],
)
def test_writes_of_no_row_stay(index, write):
    text = module([*WRITES[:index], write, *WRITES[index + 1 :]])
    assert joined_writes(text) == text
    assert joined_writes(module(WRITES[:3])) == module(WRITES[:3])


@pytest.mark.parametrize("bits", [7, 8])
def test_a_table_has_one_write_port(bits):
    config = replace(PRESETS["tiny"], act_bits=bits, acc_bits=24, tables=True)
    text = emit(Table(config, positions=2))
    for number in range(2):
        assert text.count(f"memory_{number}[{{ row") == 1
        assert (
            f"memory_{number}[{{ row, _number_ }}] <= word[(_i_ + 1) * {bits} - 1 -: {bits}]"
            in text
        )
