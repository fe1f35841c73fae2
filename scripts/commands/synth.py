"""``nbqnn synth``: the area of a build."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import JsonOption
from scripts.output import console, spinner, write_json
from scripts.tables import area_table

__all__ = ["synth"]


class Tool(StrEnum):
    """What synthesizes: on this machine, or elsewhere from a folder that is written here."""

    YOSYS = "yosys"
    VIVADO = "vivado"


def synth(
    build: Annotated[Path, typer.Argument(metavar="BUILD", help="Folder of generate.")],
    tool: Annotated[Tool, typer.Option(help="Synthesis tool.")],
    board: Annotated[str, typer.Option(help="Board.")] = "zcu102",
    json: JsonOption = None,
) -> None:
    """Count LUTs, registers, memories and multipliers (yosys), or write a build folder (vivado)."""
    from hw.boards import find_board
    from hw.synth import synth_yosys, write_vivado
    from hw.synth.vivado import VIVADO_COMMAND

    target = find_board(board)
    if tool is Tool.VIVADO:
        files = write_vivado(build, target)
        write_json(json, {"tool": tool.value, "board": board, "files": [str(f) for f in files]})
        for file in files:
            console.print(f"wrote {file}", soft_wrap=True)
        console.print(
            f"Where Vivado is installed: cd {files[-1].parent} && {VIVADO_COMMAND}", soft_wrap=True
        )
        return
    with spinner(f"yosys for {board}") as report:
        result = synth_yosys(build, target, report)
    write_json(json, result)
    console.print(area_table([result]))
