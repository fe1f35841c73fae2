"""Whether an accelerator fits a board."""

from hw.boards.board import Board
from hw.synth.area import Area
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["check_fit", "shares"]

_NAMES = {"lut": "LUTs", "ff": "registers", "bram36": "BRAM36", "dsp": "DSPs"}


def shares(area: Area, board: Board) -> dict[str, float]:
    """Resource -> percent of the board that the area takes."""
    return {
        resource: round(100 * getattr(area, resource) / getattr(board, resource), 2)
        for resource in _NAMES
    }


def check_fit(area: Area, board: Board) -> None:
    """Raises :exc:`NbqnnError`, with resource and amounts, if the board has too little."""
    lacking = [
        f"{getattr(area, resource):,} {name}, the board has {getattr(board, resource):,}"
        for resource, name in _NAMES.items()
        if getattr(area, resource) > getattr(board, resource)
    ]
    if lacking:
        raise NbqnnError(
            f"the accelerator does not fit {board.name}: it needs {'; '.join(lacking)}"
        )
