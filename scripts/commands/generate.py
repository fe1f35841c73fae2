"""``nbqnn generate``: from a configuration to Verilog."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console, spinner

__all__ = ["generate"]


def generate(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUILD", help="Build folder.")],
    preset: Annotated[str | None, typer.Option(help="Configuration by name.")] = None,
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
        Path | None, typer.Option("--input", metavar="X.npy", help="Images for the bench.")
    ] = None,
) -> None:
    """Write the accelerator: Verilog, register map, configuration."""
    from hw.boards.presets import load_config
    from hw.contract.program import load_program
    from hw.rtl.generate import generate as run_generation
    from nbqnn_train.graph.errors import NbqnnError
    from scripts.images import read_images
    from sim.testbench import write_testbench

    if (testbench is None) != (images is None):
        raise NbqnnError("a bench takes both: --testbench PROGRAM and --input X.npy")
    configuration = load_config(preset=preset, path=config)
    with spinner("generating"):
        if testbench is not None:
            write_testbench(
                load_program(testbench), read_images(images), configuration, out / "testbench"
            )
        run_generation(configuration, out)
    console.print(
        f"{configuration.name}: {configuration.multiplies_per_cycle} multiplies a cycle; "
        f"build in {out}",
        soft_wrap=True,
    )
