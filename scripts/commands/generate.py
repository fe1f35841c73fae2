"""``nbqnn generate``: from a configuration to Verilog."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.options import complete_board, complete_preset, graph_file
from scripts.commands.outputs import output_folder
from scripts.output import console, spinner

__all__ = ["generate"]


def generate(
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=output_folder, metavar="BUILD", help="Build folder."),
    ],
    preset: Annotated[
        str | None, typer.Option(autocompletion=complete_preset, help="Configuration by name.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="HW.toml", help="Configuration file.")
    ] = None,
    testbench: Annotated[
        Path | None,
        typer.Option(
            metavar="PROGRAM", help="Also write a bench for any simulator that runs this program."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="X.npy", help="Images for the bench; .npz for several inputs."
        ),
    ] = None,
    spatial: Annotated[
        Path | None,
        typer.Option(
            callback=graph_file,
            metavar="GRAPH",
            help="A circuit of this graph's own, its weights as wiring.",
        ),
    ] = None,
    clock_mhz: Annotated[
        int | None,
        typer.Option(
            "--clock-mhz",
            min=1,
            max=1000,
            help="Clock, in place of the configuration's; of a circuit 400 unless given.",
        ),
    ] = None,
    interval: Annotated[
        int | None,
        typer.Option(
            "--ii",
            metavar="N",
            min=1,
            max=1024,
            help="Cycles for a position, of a circuit; 1 unless given.",
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_board,
            help="Board that a circuit must fit; zcu102 unless given.",
        ),
    ] = None,
) -> None:
    """Write the accelerator: Verilog, register map, configuration."""
    if spatial is not None:
        from scripts.spatial import describe_build, generate_circuit

        if any(option is not None for option in (preset, config, testbench, images)):
            raise NbqnnError("--spatial takes no --preset, --config, --testbench or --input")
        with spinner("generating") as report:
            described = generate_circuit(
                spatial, out, clock_mhz or 400, interval or 1, board or "zcu102", report
            )
        console.print(describe_build(described, out), soft_wrap=True)
        return
    from hw.boards.presets import load_config
    from hw.contract.program import load_program
    from hw.rtl.generate import generate as run_generation
    from scripts.images import read_inputs
    from sim.testbench import write_testbench

    if interval is not None or board is not None:
        raise NbqnnError("--ii and --board are of circuits; they need --spatial GRAPH")
    if (testbench is None) != (images is None):
        raise NbqnnError("a bench takes both: --testbench PROGRAM and --input X.npy")
    configuration = load_config(preset=preset, path=config)
    if clock_mhz is not None:
        configuration = replace(configuration, clock_mhz=clock_mhz)
    with spinner("generating"):
        if testbench is not None:
            write_testbench(
                load_program(testbench), read_inputs(images), configuration, out / "testbench"
            )
        run_generation(configuration, out)
    console.print(
        f"{configuration.name}: {configuration.multiplies_per_cycle} multiplies a cycle; "
        f"build in {out}",
        soft_wrap=True,
    )
