"""``nbqnn synth``: area, timing and bitstream of a build."""

from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.options import JsonOption, complete_board
from scripts.output import console, spinner, write_json
from scripts.tables import area_table, power_table, timing_table

__all__ = ["synth"]


class Tool(StrEnum):
    """What synthesizes."""

    YOSYS = "yosys"
    NEXTPNR = "nextpnr"
    VIVADO = "vivado"


def synth(
    build: Annotated[Path, typer.Argument(metavar="BUILD", help="Folder of generate.")],
    tool: Annotated[
        Tool,
        typer.Option(
            help="yosys: count cells. nextpnr: place, route and pack a bitstream (ECP5). vivado: "
            "write a project, and run it where Vivado is on the path."
        ),
    ],
    board: Annotated[str, typer.Option(autocompletion=complete_board, help="Board.")] = "zcu102",
    quick: Annotated[
        bool, typer.Option("--quick", help="Vivado: the accelerator alone, out of context.")
    ] = False,
    read: Annotated[
        bool, typer.Option("--read", help="Vivado: read the reports of a run elsewhere.")
    ] = False,
    activity: Annotated[
        Path | None,
        typer.Option(metavar="FILE.saif", help="Vivado: activity in a simulation, for power."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Area, and routed timing where the tool gives it; exit code 1 if the clock is not met."""
    from hw.boards.registry import find_board
    from hw.synth import read_vivado, run_vivado, synth_nextpnr, synth_yosys, write_vivado
    from hw.synth.fit import check_fit
    from hw.synth.results import ProjectResult
    from hw.synth.vivado import VIVADO_COMMAND

    target = find_board(board)
    of_vivado = {"--quick": quick, "--read": read, "--activity": activity is not None}
    if tool is not Tool.VIVADO and any(of_vivado.values()):
        given = ", ".join(option for option, value in of_vivado.items() if value)
        raise NbqnnError(f"--tool {tool.value} does not take {given}: only vivado does")
    if read and activity is not None:
        raise NbqnnError("--read takes no --activity: the reports are there already")
    if tool is Tool.VIVADO and read:
        result = read_vivado(build, target, quick=quick)
    elif tool is Tool.VIVADO:
        files = write_vivado(build, target, quick=quick, activity=activity)
        for file in files:
            console.print(f"wrote {file}", soft_wrap=True)
        with spinner("vivado") as report:
            result = run_vivado(build, target, quick=quick, progress=report)
        if result is None:
            names = tuple(str(file) for file in files)
            write_json(json, ProjectResult(tool=tool.value, board=board, files=names))
            console.print(
                "Vivado is not on the path; where it is: "
                f"cd {quote(str(files[-1].parent))} && {VIVADO_COMMAND}",
                soft_wrap=True,
            )
            return
    else:
        run = {Tool.YOSYS: synth_yosys, Tool.NEXTPNR: synth_nextpnr}[tool]
        with spinner(f"{tool.value} for {board}") as report:
            result = run(build, target, report)
    write_json(json, result)
    console.print(area_table([result]))
    if result.estimated_power is not None:
        console.print(power_table(result.estimated_power, result.clock_mhz))
    if result.estimated_timing is not None:
        console.print(timing_table(result.estimated_timing))
        if result.clock_mhz > result.estimated_mhz:
            console.print(
                f"warning: the clock of {result.clock_mhz} MHz must be at most the estimated "
                f"{result.estimated_mhz:.0f} MHz ({result.estimated_low_mhz:.0f} to "
                f"{result.estimated_high_mhz:.0f}); lower clock_mhz or see the slowest paths",
                soft_wrap=True,
            )
    if result.fmax_mhz is None:
        # An estimate beyond the board is worth seeing, but no board can be built from it.
        check_fit(result.area, target)
        return
    met = "met" if result.met else "not met"
    console.print(f"clock: {result.fmax_mhz} MHz of {result.clock_mhz} MHz asked for: {met}")
    if path := result.critical_path:
        console.print(
            f"slowest path: {path['delay_ns']} ns ({path['logic_ns']} in logic) from "
            f"{path['from']} to {path['to']}",
            soft_wrap=True,
        )
    if not result.met:
        raise typer.Exit(1)
