"""Finds the twins: components that exist in the cells of UltraScale+ and of the 7 series, too."""

import re
from collections.abc import Iterable

from hw.rtl.array.cascade import CascadeSum, DspCascade, NegatedFactor
from hw.rtl.array.quad import DspQuad, QuadFactor
from hw.rtl.array.shift_lines import ShiftLines
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.array.taps import TapSvpe
from hw.rtl.array.wait import Wait
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
from hw.rtl.component import Component
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
from hw.rtl.ultrascale.dsp import (
    UltrascaleDspCascade,
    UltrascaleNegatedFactor,
    UltrascaleShiftLines,
)
from hw.rtl.ultrascale.elements import (
    UltrascaleCascadeSum,
    UltrascaleSvpe,
    UltrascaleTapSvpe,
    UltrascaleVpe,
)
from hw.rtl.ultrascale.quad import UltrascaleDspQuad, UltrascaleQuadFactor, UltrascaleWait
from hw.rtl.ultrascale.spatial_cells import UltrascaleSaturation, UltrascaleSignedTotal
from hw.rtl.verilog import VerilogLibrary
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["FAMILIES", "TWINS", "explicit_verilog", "ultrascale_twin"]

#: Families with such cells: AMD UltraScale+ and the 7 series.
FAMILIES = ("xcup", "xc7")

_MODULE = re.compile(r"^module (\w+)\(.*?^endmodule\n", flags=re.MULTILINE | re.DOTALL)

#: Component -> the one in explicit cells that takes its place.
TWINS: dict[type[Component], type[Component]] = {
    Addition: UltrascaleAddition,
    Advance: UltrascaleAdvance,
    CascadeSum: UltrascaleCascadeSum,
    Choice: UltrascaleChoice,
    Comparison: UltrascaleComparison,
    DspCascade: UltrascaleDspCascade,
    DspQuad: UltrascaleDspQuad,
    FactorStep: UltrascaleFactorStep,
    Halving: UltrascaleHalving,
    NegatedFactor: UltrascaleNegatedFactor,
    QuadFactor: UltrascaleQuadFactor,
    Saturation: UltrascaleSaturation,
    ShiftLines: UltrascaleShiftLines,
    SignedTotal: UltrascaleSignedTotal,
    Svpe: UltrascaleSvpe,
    TapSvpe: UltrascaleTapSvpe,
    Total: UltrascaleTotal,
    Union: UltrascaleUnion,
    Vpe: UltrascaleVpe,
    Wait: UltrascaleWait,
}
#: Components whose twins have cells that the 7 series lacks.
_ULTRASCALE_ONLY = (DspCascade, DspQuad)


def ultrascale_twin(component: Component) -> Component | None:
    """The component's twin: the same module name, ports and function in explicit cells.

    None if there is no twin, or if its tables would be too small: an addition of many terms, a
    choice of many words.
    """
    twin = TWINS.get(type(component))
    if twin is None or not twin.fits(**component.arguments):
        return None
    return twin(**component.arguments)


def explicit_verilog(verilog: str, components: Iterable[Component], family: str) -> str:
    """``verilog`` with explicit cells in the modules of those ``components`` that have a twin.

    family : one of :data:`FAMILIES`. They differ in their carry chains. DSP blocks of the 7
        series are left to synthesis.

    A text of one module has no parts, and stays as it is.

    Raises :exc:`NbqnnError` if the text lacks the module of such a component: another version wrote
    it.
    """
    explicit = VerilogLibrary()
    wanted = set()
    for component in components:
        if family == "xc7" and isinstance(component, _ULTRASCALE_ONLY):
            continue
        if twin := ultrascale_twin(component):
            explicit.add(twin)
            wanted.add(component.module_name)
    used = {match[1] for match in _MODULE.finditer(verilog)}
    if len(used) == 1 or not wanted:
        return verilog
    if lacking := sorted(wanted - used):
        raise NbqnnError(
            f"the Verilog must have the modules of this version, not lack {lacking[0]!r}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else "")
            + "; remedy: generate the build again"
        )
    cells = _modules(explicit)
    if family == "xc7":
        chains = VerilogLibrary()
        for component in explicit.components:
            if isinstance(component, CarryChain):
                chains.add(Series7CarryChain(**component.arguments))
        cells |= _modules(chains)
    # Modules inside the twins come before the first of them.
    inside = "\n".join(text for name, text in cells.items() if name not in used)
    replaced = _MODULE.sub(lambda match: cells.get(match[1], match[0]), verilog)
    first = _MODULE.search(replaced).start()
    return replaced[:first] + inside + "\n" + replaced[first:]


def _modules(library: VerilogLibrary) -> dict[str, str]:
    """Module -> its Verilog."""
    return {match[1]: match[0] for match in _MODULE.finditer(library.verilog())}
