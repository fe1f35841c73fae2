"""``nbqnn simulate``: the accelerator against the interpreter."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import JsonOption
from scripts.images import read_images
from scripts.output import console, progress, write_json
from scripts.tables import layer_table

__all__ = ["simulate"]


def simulate(
    program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="Program file.")],
    images: Annotated[
        Path, typer.Option("--input", metavar="X.npy", help="Images, float32 (N, C, H, W).")
    ],
    netlist: Annotated[
        Path | None,
        typer.Option(help="Simulate this netlist of synth --tool nextpnr, over its serial line."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Run the Verilated accelerator and compare every output code; exit code 1 on a difference."""
    from sim.serial.simulate import simulate_netlist
    from sim.simulate import simulate as run_simulation

    x = read_images(images)
    with progress("simulating") as report:
        if netlist is None:
            result = run_simulation(program, x, progress=report)
        else:
            result = simulate_netlist(program, x, netlist, progress=report)
    write_json(json, result)
    console.print(layer_table(result))
    console.print(
        f"{result['images']} images, {result['mismatches']} mismatches, "
        f"{result['cycles_per_image']:,.0f} cycles per image, "
        f"utilization {result['utilization']:.1%}"
    )
    if result["mismatches"]:
        first = result["first_mismatch"]
        console.print(
            f"first difference: image {first['image']}, layer {first['layer']}, "
            f"position {first['position']}: {first['actual']}, not {first['expected']}",
            soft_wrap=True,
        )
        raise typer.Exit(1)
