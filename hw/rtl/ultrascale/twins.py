"""Which components have a form in the cells of UltraScale+."""

from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.cells.addition import Addition
from hw.rtl.cells.advance import Advance
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.comparison import Comparison
from hw.rtl.cells.halving import Halving
from hw.rtl.cells.saturation import Saturation
from hw.rtl.cells.signed_total import SignedTotal
from hw.rtl.cells.total import Total
from hw.rtl.cells.union import Union
from hw.rtl.component import Component
from hw.rtl.ultrascale.cells import (
    UltrascaleAddition,
    UltrascaleAdvance,
    UltrascaleChoice,
    UltrascaleComparison,
    UltrascaleHalving,
    UltrascaleTotal,
    UltrascaleUnion,
)
from hw.rtl.ultrascale.elements import UltrascaleSvpe, UltrascaleVpe
from hw.rtl.ultrascale.spatial_cells import UltrascaleSaturation, UltrascaleSignedTotal

__all__ = ["ultrascale_twin"]

_TWINS: dict[type[Component], type[Component]] = {
    Addition: UltrascaleAddition,
    Advance: UltrascaleAdvance,
    Choice: UltrascaleChoice,
    Comparison: UltrascaleComparison,
    Halving: UltrascaleHalving,
    Saturation: UltrascaleSaturation,
    SignedTotal: UltrascaleSignedTotal,
    Svpe: UltrascaleSvpe,
    Total: UltrascaleTotal,
    Union: UltrascaleUnion,
    Vpe: UltrascaleVpe,
}


def ultrascale_twin(component: Component) -> Component | None:
    """A component with the same module name, ports and function in explicit cells, if there is one.

    There is none where tables would be too small: an addition of many terms, a choice of many
    words.
    """
    twin = _TWINS.get(type(component))
    if twin is None or not twin.fits(**component.arguments):
        return None
    return twin(**component.arguments)
