"""The boards of this folder, by name."""

import pkgutil
from importlib import import_module

import hw.boards
from hw.boards.board import Board
from hw.contract.memory_timing import BoardMemory
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["BOARDS", "find_board", "find_memory"]

#: Modules of this folder that are not boards.
_OTHERS = ("board", "presets", "registry", "shells")


def _boards() -> dict[str, Board]:
    names = sorted(module.name for module in pkgutil.iter_modules(hw.boards.__path__))
    modules = (import_module(f"hw.boards.{name}") for name in names if name not in _OTHERS)
    return {board.name: board for board in (module.BOARD for module in modules)}


#: Name -> board, in the order of their names.
BOARDS = _boards()


def find_board(name: str) -> Board:
    """The board of that name. Raises :exc:`NbqnnError`, with the known names, for any other."""
    if name not in BOARDS:
        raise NbqnnError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]


def find_memory(name: str) -> BoardMemory:
    """The memory of that board. Raises :exc:`NbqnnError` if it has none outside the chip."""
    able = [board.name for board in BOARDS.values() if board.memory is not None]
    if name not in able:
        raise NbqnnError(f"memory must be one of {', '.join(able)}, not {name!r}")
    return BOARDS[name].memory
