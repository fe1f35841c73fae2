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
) -> None:
    """Write the accelerator: Verilog, register map, configuration."""
    from hw.boards.presets import load_config
    from hw.rtl.generate import generate as run_generation

    configuration = load_config(preset=preset, path=config)
    with spinner("generating"):
        run_generation(configuration, out)
    console.print(
        f"{configuration.name}: {configuration.multiplies_per_cycle} multiplies a cycle; "
        f"build in {out}",
        soft_wrap=True,
    )
