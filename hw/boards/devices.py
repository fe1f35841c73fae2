"""The boards an accelerator can be built for, and what their devices hold."""

from dataclasses import dataclass

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["BOARDS", "Board", "find_board"]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the resources of its FPGA.

    part : the device's full ordering name, as the vendor's tools want it.
    family : which cells Yosys maps to: "xcup" (AMD UltraScale+) or "ecp5" (Lattice).
    lut : look-up tables, six-input on UltraScale+ and four-input on ECP5.
    bram36 : block memories in units of 36 Kbit; smaller ones count as their share of one.
    dsp : multiplier blocks.
    """

    name: str
    part: str
    family: str
    lut: int
    ff: int
    bram36: int
    dsp: int


BOARDS = {
    board.name: board
    for board in (
        # AMD DS891, XCZU9EG.
        Board(
            name="zcu102",
            part="xczu9eg-ffvb1156-2-e",
            family="xcup",
            lut=274_080,
            ff=548_160,
            bram36=912,
            dsp=2_520,
        ),
        # Lattice FPGA-DS-02012, LFE5U-85F: 208 block memories of 18 Kbit.
        Board(
            name="ulx3s",
            part="LFE5U-85F-6BG381C",
            family="ecp5",
            lut=83_640,
            ff=83_640,
            bram36=104,
            dsp=156,
        ),
    )
}


def find_board(name: str) -> Board:
    """The board of that name; :exc:`NbqnnError` naming the known ones for any other."""
    if name not in BOARDS:
        raise NbqnnError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
