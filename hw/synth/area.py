"""What mapped cells cost, and the sum over a hierarchy of modules."""

from dataclasses import dataclass

__all__ = ["CELL_AREAS", "Area", "ModuleAreas"]


@dataclass(frozen=True, kw_only=True)
class Area:
    """Look-up tables, registers, 36-Kbit memories (in halves) and multipliers in use."""

    lut: int = 0
    ff: int = 0
    bram36: float = 0.0
    dsp: int = 0

    def __add__(self, other: "Area") -> "Area":
        return Area(
            lut=self.lut + other.lut,
            ff=self.ff + other.ff,
            bram36=self.bram36 + other.bram36,
            dsp=self.dsp + other.dsp,
        )

    def __mul__(self, count: int) -> "Area":
        return Area(
            lut=self.lut * count,
            ff=self.ff * count,
            bram36=self.bram36 * count,
            dsp=self.dsp * count,
        )


def _areas(**groups: dict[str, float]) -> dict[str, Area]:
    """``lut={"LUT1": 1}`` and so on -> cell name to area."""
    return {
        cell: Area(**{resource: amount})
        for resource, cells in groups.items()
        for cell, amount in cells.items()
    }


_FREE = Area()

#: Cells of logic and distributed memory that both UltraScale+ and the 7 series have.
_AMD_LUTS = {
    **dict.fromkeys(("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "LUT6_2"), 1),
    # Yosys leaves an inverter where no table could take it in.
    "INV": 1,
    # Memories and shift registers in tables, with the number of tables that each occupies.
    **dict.fromkeys(("RAM32X1S", "RAM64X1S", "SRL16E", "SRLC16E", "SRLC32E"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), 4),
}
_AMD_REGISTERS = dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "LDCE", "LDPE"), 1)

#: Family -> cell -> area. A cell that is missing here is an error: no cell is silently free.
CELL_AREAS: dict[str, dict[str, Area]] = {
    # AMD UG574 (logic and distributed memory), UG573 (block memory), UG579 (multipliers).
    "xcup": {
        **dict.fromkeys(
            ("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC", "BUFG"), _FREE
        ),
        **_areas(
            lut={
                **_AMD_LUTS,
                **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM512X1S"), 8),
                **dict.fromkeys(("RAM64X8SW", "RAM32X16DR8"), 8),
            },
            ff=_AMD_REGISTERS,
            bram36={"RAMB36E2": 1, "RAMB18E2": 0.5},
            dsp={"DSP48E2": 1},
        ),
    },
    # AMD UG474, UG473, UG479.
    "xc7": {
        **dict.fromkeys(("CARRY4", "MUXF7", "MUXF8", "GND", "VCC", "BUFG"), _FREE),
        **_areas(
            lut=_AMD_LUTS,
            ff=_AMD_REGISTERS,
            bram36={"RAMB36E1": 1, "RAMB18E1": 0.5},
            dsp={"DSP48E1": 1},
        ),
    },
    # Lattice FPGA-TN-02200 and -02205; four-input tables.
    "ecp5": {
        **dict.fromkeys(("PFUMX", "L6MUX21", "GND", "VCC"), _FREE),
        **_areas(
            # A carry cell is a pair of tables. A distributed memory takes four tables for its data,
            # and its write port makes two more unusable.
            lut={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            ff={"TRELLIS_FF": 1},
            bram36={"DP16KD": 0.5, "PDPW16KD": 0.5},
            dsp={"MULT18X18D": 1},
        ),
    },
}


class ModuleAreas:
    """Areas of all modules of a design, each with everything inside it.

    A module that is used often is mapped once, but counts as often as it is used.

    Parameters
    ----------
    cells : module -> cell or module -> how many of them the module contains directly.
    family : key of :data:`CELL_AREAS`.

    Raises
    ------
    KeyError
        A module contains a cell that the family's table does not list.
    """

    def __init__(self, cells: dict[str, dict[str, int]], family: str):
        self._cells = cells
        self._table = CELL_AREAS[family]
        self._known: dict[str, Area] = {}
        for module in cells:
            self.of(module)

    def of(self, module: str) -> Area:
        """Area of one instance of ``module`` and everything inside it."""
        if module not in self._known:
            total = Area()
            for cell, count in self._cells[module].items():
                total += (self.of(cell) if cell in self._cells else self._table[cell]) * count
            self._known[module] = total
        return self._known[module]
