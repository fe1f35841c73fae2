"""``nbqnn explore``: the configurations that run a network best on a board."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import (
    ClusterOption,
    GraphArgument,
    JsonOption,
    complete_board,
)
from scripts.commands.outputs import output_folder
from scripts.output import console, progress, write_json
from scripts.tables import circuits_table, front_table

__all__ = ["explore"]

#: Exit code of an interrupted command.
_INTERRUPTED = 130


def explore(
    graph: GraphArgument,
    board: Annotated[
        str, typer.Option(autocompletion=complete_board, help="Board, for example zcu102.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", callback=output_folder, metavar="DIR", help="Folder for what is found."
        ),
    ] = Path("explore"),
    pe: Annotated[str, typer.Option(help="shift, or multiply for the baseline.")] = "shift",
    clock_mhz: Annotated[int, typer.Option("--clock", min=1, max=1000, help="Clock in MHz.")] = 250,
    lut_percent: Annotated[
        float, typer.Option("--lut", min=1, max=100, help="LUTs to use, percent of the board.")
    ] = 75,
    bram_percent: Annotated[
        float, typer.Option("--bram", min=1, max=100, help="BRAM to use, percent of the board.")
    ] = 85,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Configurations to compile at most.")
    ] = 300,
    cluster: ClusterOption = None,
    json: JsonOption = None,
) -> None:
    """Search for configurations by cycle model and area model; show which are worth having.

    Ctrl-C ends the search early with what it has; the same command goes on where it was stopped.
    """
    from scripts.clusters import connected
    from scripts.exploration import BEST, PICTURES, run_exploration

    with connected(cluster) as workers, progress("exploring") as report:
        result = run_exploration(
            graph,
            board,
            out,
            pe=pe,
            clock_mhz=clock_mhz,
            lut_percent=lut_percent,
            bram_percent=bram_percent,
            most=most,
            cluster=workers,
            progress=report,
        )
    write_json(json, result)
    console.print(front_table(result))
    if result.circuits:
        console.print(circuits_table(result))
    console.print(
        f"at most {result.budget.lut:,} LUTs and {result.budget.bram36:,} BRAM36: "
        f"{result.considered:,} configurations considered, {result.compiled} compiled; the "
        f"fastest is in {out / BEST}, pictures are in {out / PICTURES}",
        soft_wrap=True,
    )
    if result.no_circuits is not None:
        console.print(f"circuits (generate --spatial): {result.no_circuits}", soft_wrap=True)
    if not result.complete:
        console.print("it was interrupted; the same command goes on", soft_wrap=True)
        raise typer.Exit(_INTERRUPTED)
