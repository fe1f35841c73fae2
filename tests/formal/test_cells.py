# amaranth: UnusedElaboratable=no
"""Cells in explicit tables do what their plain Verilog does, for all inputs."""

from importlib import import_module
from pathlib import Path

import pytest
from amaranth.hdl import Value
from amaranth.lib.wiring import In

from hw.rtl.array.cascade import NegatedFactor
from hw.rtl.cells.addition import Addition
from hw.rtl.cells.advance import Advance
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.comparison import Comparison
from hw.rtl.cells.factor_step import FactorStep
from hw.rtl.cells.halving import Halving
from hw.rtl.cells.saturation import Saturation
from hw.rtl.cells.signed_total import SignedTotal
from hw.rtl.cells.total import Total
from hw.rtl.cells.union import Union
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.ultrascale import twins
from hw.rtl.ultrascale.carry import CarryChain, Series7CarryChain
from hw.rtl.ultrascale.cells import (
    UltrascaleAddition,
    UltrascaleAdvance,
    UltrascaleChoice,
    UltrascaleComparison,
    UltrascaleFactorStep,
    UltrascaleHalving,
    UltrascaleTotal,
    UltrascaleUnion,
)
from hw.rtl.ultrascale.dsp import UltrascaleNegatedFactor
from hw.rtl.ultrascale.spatial_cells import UltrascaleSaturation, UltrascaleSignedTotal
from hw.rtl.ultrascale.twins import ultrascale_twin
from hw.rtl.verilog import emit
from tests.formal.proofs import inverted_tables, proven

CELLS = [
    (Addition, UltrascaleAddition, {"width": 9, "count": 5, "bits": 7}),
    (Addition, UltrascaleAddition, {"width": 5, "count": 1, "bits": 5}),
    (Choice, UltrascaleChoice, {"ways": 8, "width": 2}),
    (Choice, UltrascaleChoice, {"ways": 16, "width": 1}),
    (Comparison, UltrascaleComparison, {"bits": 8}),
    (Comparison, UltrascaleComparison, {"bits": 5}),
    (Comparison, UltrascaleComparison, {"bits": 2}),
    (Halving, UltrascaleHalving, {"width": 5}),
    (Union, UltrascaleUnion, {"terms": 2, "count": 2, "width": 2}),
    (Union, UltrascaleUnion, {"terms": 3, "count": 3, "width": 1}),
    (Advance, UltrascaleAdvance, {"width": 9}),
    (Choice, UltrascaleChoice, {"ways": 2, "width": 5}),
    (Total, UltrascaleTotal, {"width": 6}),
    (SignedTotal, UltrascaleSignedTotal, {"width": 6, "plain": 3, "inverted": 0}),
    (SignedTotal, UltrascaleSignedTotal, {"width": 9, "plain": 1, "inverted": 2}),
    (SignedTotal, UltrascaleSignedTotal, {"width": 5, "plain": 0, "inverted": 3}),
    (SignedTotal, UltrascaleSignedTotal, {"width": 9, "plain": 1, "inverted": 1}),
    (SignedTotal, UltrascaleSignedTotal, {"width": 4, "plain": 0, "inverted": 1}),
    (Saturation, UltrascaleSaturation, {"width": 9, "bits": 6, "signed": False}),
    (Saturation, UltrascaleSaturation, {"width": 6, "bits": 5, "signed": False}),
    (Choice, UltrascaleChoice, {"ways": 4, "width": 2}),
    (NegatedFactor, UltrascaleNegatedFactor, {"weight_bits": 2}),
    (NegatedFactor, UltrascaleNegatedFactor, {"weight_bits": 3}),
    (NegatedFactor, UltrascaleNegatedFactor, {"weight_bits": 4}),
    (FactorStep, UltrascaleFactorStep, {"act_bits": 8, "width": 10, "shift": 2}),
    (FactorStep, UltrascaleFactorStep, {"act_bits": 4, "width": 5, "shift": 1}),
]


def claim(plain, explicit, options):
    """Verilog with both, which asserts that their outputs are equal."""
    cell = plain(**options)
    name = cell.module_name
    texts = emit(cell).replace(f"module {name}(", "module plain("), emit(explicit(**options))
    inputs, outputs = [], []
    for port, member in cell.signature.members.items():
        (inputs if member.flow is In else outputs).append((port, member.shape))
    connections = "".join(f", .{port}({port})" for port, _ in inputs)
    widths = {output: len(Value.cast(getattr(cell, output))) for output, _ in outputs}
    results = {
        side: "".join(f", .{output}({side}_{output})" for output in widths)
        for side in ("plain", "explicit")
    }
    declarations = ", ".join(
        f"input [{len(Value.cast(getattr(cell, port))) - 1}:0] {port}" for port, _ in inputs
    )
    wires = "".join(
        f"  wire [{width - 1}:0] plain_{output}, explicit_{output};\n"
        f"  always @* assert(plain_{output} == explicit_{output});\n"
        for output, width in widths.items()
    )
    return f"""{"".join(texts)}
module claim({declarations});
{wires}
  plain one(.clk(1'b0), .rst(1'b0){connections}{results["plain"]});
  {name} other(.clk(1'b0), .rst(1'b0){connections}{results["explicit"]});
endmodule
"""


@pytest.mark.parametrize(("plain", "explicit", "options"), CELLS)
def test_explicit_tables_do_the_same(plain, explicit, options, tmp_path):
    assert proven(claim(plain, explicit, options), "claim", tmp_path)


@pytest.mark.parametrize("width", [1, 4, 9])
def test_both_carry_chains_do_the_same(width, tmp_path):
    """Cells of the 7 series, chained by CI and begun by CYINIT, and those of UltraScale+."""
    text = claim(CarryChain, Series7CarryChain, {"width": width})
    assert proven(text, "claim", tmp_path)
    if width > Series7CarryChain.cell_bits:
        broken = text.replace(".CI(carries_0[3])", ".CI(1'h0)")
        assert broken != text
        assert not proven(broken, "claim", tmp_path)


@pytest.mark.parametrize("index", [0, 2, 4, 7, 8, 10, 11, 12])
def test_every_table_matters(index, tmp_path):
    plain, explicit, options = CELLS[index]
    broken = inverted_tables(claim(plain, explicit, options))
    assert len(broken) == {0: 10, 2: 4, 4: 4, 7: 3, 8: 2, 10: 9, 11: 3, 12: 6}[index]
    for wrong in broken[::3]:
        assert not proven(wrong, "claim", tmp_path)


def test_every_explicit_component_is_a_twin():
    """One that nobody registers would never be used."""
    explicit = set()
    for file in Path(twins.__file__).parent.glob("[a-z]*.py"):
        module = import_module(f"hw.rtl.ultrascale.{file.stem}")
        explicit |= {v for name, v in vars(module).items() if name.startswith("Ultrascale")}
    assert explicit == set(twins.TWINS.values())


def test_twins():
    for plain, explicit, options in CELLS:
        cell = plain(**options)
        cell._MustUse__silence = True
        found = ultrascale_twin(cell)
        found._MustUse__silence = True
        assert (type(found), found.module_name) == (explicit, cell.module_name)
        assert found.signature == cell.signature
        assert found.arguments == options
    # No table cell is made for so many.
    assert ultrascale_twin(Choice(ways=32, width=2)) is None
    assert ultrascale_twin(Addition(width=9, count=6, bits=7)) is None
    assert ultrascale_twin(StreamFifo(8, 4)) is None
