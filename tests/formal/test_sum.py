"""Additions in explicit tables and carry chains equal the sum, for all inputs."""

import pytest
from amaranth.hdl import Shape

from hw.rtl.ultrascale.elements import Accumulation, Sum
from hw.rtl.verilog import emit
from tests.formal.proofs import inverted_tables, proven
from tests.nightly import NIGHTLY

#: Terms and bits of the sum; the last ones keep fewer bits than the sum has.
SUMS = [
    ("u10 u10 u10", 12),
    ("u18 u18 u18", 20),
    ("s16 s16 s16", 18),
    ("u12 u12 u10", 14),
    ("s9 s9 u3", 11),
    ("u12 u5 u1", 13),
    ("u10 u10", 11),
    ("u11 u3", 12),
    ("s8 s8", 9),
    ("u23 u23 u22", 24),
    ("u9 u9 u9", 9),
    ("u9 u9 u9", 10),
]
#: Terms, exponent, bits of the accumulator.
ACCUMULATIONS = [
    ("u16 u15", 15, 24),
    ("u14 u13", 13, 20),
    ("u23 u22", 22, 32),
    ("u10 u10", 11, 11),
    ("s16 s16", 16, 20),
    ("u9 u9", 9, 9),
    ("u12 u3", 14, 20),
]


def terms_of(text):
    """``u10 s9`` -> (unsigned(10), signed(9))."""
    return tuple(Shape(int(term[1:]), signed=term[0] == "s") for term in text.split())


def ports(terms):
    """Declarations, connections and values of the terms in Verilog."""
    declarations = "".join(f", input [{term.width - 1}:0] t{i}" for i, term in enumerate(terms))
    connections = "".join(f", .term_{i}(t{i})" for i in range(len(terms)))
    values = [
        f"($signed(t{i}) + {1 << term.width - 1})" if term.signed else f"$signed({{1'b0, t{i}}})"
        for i, term in enumerate(terms)
    ]
    return declarations, connections, values


def sum_claim(terms, width):
    cell = Sum(terms=terms_of(terms), width=width)
    declarations, connections, values = ports(cell.terms)
    return f"""{emit(cell)}
module claim(input unused{declarations});
  wire [{width - 1}:0] total;
  {cell.module_name} cells(.clk(1'b0), .rst(1'b0){connections}, .total(total));
  wire signed [39:0] exact = {" + ".join(values)};
  always @* assert(total == exact[{width - 1}:0]);
endmodule
"""


def accumulation_claim(terms, exponent, acc_bits):
    cell = Accumulation(terms=terms_of(terms), exponent=exponent, acc_bits=acc_bits)
    declarations, connections, values = ports(cell.terms)
    return f"""{emit(cell)}
module claim(input [{acc_bits - 1}:0] running, input first{declarations});
  wire [{acc_bits - 1}:0] total;
  {cell.module_name} cells(
    .clk(1'b0), .rst(1'b0), .running(running), .first(first){connections}, .total(total)
  );
  wire signed [39:0] before = first ? 40'sd0 : $signed(running);
  wire signed [39:0] exact = before + {" + ".join(values)} - {1 << exponent};
  always @* assert(total == exact[{acc_bits - 1}:0]);
endmodule
"""


@pytest.mark.parametrize(("terms", "width"), SUMS)
def test_sum(terms, width, tmp_path):
    assert proven(sum_claim(terms, width), "claim", tmp_path)


@pytest.mark.parametrize(("terms", "exponent", "acc_bits"), ACCUMULATIONS)
def test_accumulation(terms, exponent, acc_bits, tmp_path):
    assert proven(accumulation_claim(terms, exponent, acc_bits), "claim", tmp_path)


@pytest.mark.parametrize(
    "claim", [sum_claim("u6 u6 s5", 8), accumulation_claim("u7 u6", 6, 10)], ids=["sum", "acc"]
)
def test_every_table_matters(claim, tmp_path):
    broken = inverted_tables(claim)
    assert len(broken) in (7, 10)
    for wrong in broken if NIGHTLY else broken[::4]:
        assert not proven(wrong, "claim", tmp_path)


def test_a_broken_carry_is_found(tmp_path):
    claim = sum_claim("u10 u10 u10", 12)
    # Between the two carry cells.
    assert claim.count(".CI(carries_0[7])") == 1
    wrong = claim.replace(".CI(carries_0[7])", ".CI(carries_0[6])")
    assert not proven(wrong, "claim", tmp_path)
