"""``nbqnn check``: a network before it is trained."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import (
    DataDirOption,
    InputBitsOption,
    JsonOption,
    ModelOption,
    OutputBitsOption,
    ShapeOption,
    complete_preset,
)
from scripts.output import console, print_notes, write_json

__all__ = ["check"]


def check(
    model: ModelOption,
    shape: ShapeOption = None,
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=1 << 20, help="Outputs, for networks that ask for them."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set that gives shape and classes in their place.")
    ] = None,
    data_dir: DataDirOption = None,
    pretrained: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS", help="Weights; without them random ones.")
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of a weight, 2 to 6.")] = 3,
    act_bits: Annotated[int, typer.Option(help="Bits of an activation, 2 to 16.")] = 8,
    input_bits: InputBitsOption = None,
    output_bits: OutputBitsOption = None,
    requant_mode: Annotated[
        str, typer.Option(help="shift, or scale (with 16-bit multipliers).")
    ] = "shift",
    hw: Annotated[
        Path | None,
        typer.Option(
            "--hw",
            metavar="BUILD",
            help="Folder of generate. With a circuit's: as a circuit of its clock and interval.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_preset,
            help="Configuration by name; zcu102-8bit or zcu102-16bit if none.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Show how each layer maps, its widths, memory and cycles, and all that is refused and why.

    Nothing is trained: weights and inputs are random. Exit code 1 if something is refused.
    """
    from nbqnn_train.convert import QuantConfig
    from scripts.check_tables import layer_costs_table, modules_table, refusals_table
    from scripts.checking import hardware_of, input_of, run_check

    quantization = QuantConfig(
        weight_bits=bits,
        act_bits=act_bits,
        input_bits=input_bits,
        output_bits=output_bits,
        requant_mode=requant_mode,
    )
    size, outputs = input_of(model, shape, classes, data, data_dir)
    hardware = hardware_of(hw, preset, max(act_bits, input_bits or 0, output_bits or 0))
    result = run_check(model, size, outputs, quantization, hardware, pretrained)
    write_json(json, result)
    print_notes(result.notes)
    if result.layers:
        console.print(layer_costs_table(result))
    else:
        console.print(modules_table(result))
    if not result.accepted:
        console.print(refusals_table(result.refusals))
        raise typer.Exit(1)
    cost = result.hardware
    if cost.lut is not None:
        console.print(
            f"all of it maps: {cost.cycles_per_image:,.0f} cycles per image, "
            f"{cost.images_per_second:,.0f} images/s, about {cost.lut:,} look-up tables, as "
            f"{cost.name}",
            soft_wrap=True,
        )
        return
    console.print(
        f"all of it maps: {cost.cycles_per_image:,.0f} cycles per image by the cycle model, "
        f"{cost.images_per_second:,.1f} images/s on {cost.name} at {cost.clock_mhz} MHz",
        soft_wrap=True,
    )
