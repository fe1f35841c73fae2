"""``nbqnn quantize``: a trained network without another training."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import (
    ClassesOption,
    DataDirOption,
    InputBitsOption,
    InputsDataOption,
    InputsOption,
    JsonOption,
    ModelOption,
    OutputBitsOption,
    PretrainedOption,
)
from scripts.commands.outputs import output_file
from scripts.output import console, print_notes, progress, write_json

__all__ = ["quantize"]


def quantize(
    model: ModelOption,
    out: Annotated[
        Path, typer.Option("-o", "--out", callback=output_file, metavar="GRAPH", help="Graph file.")
    ],
    pretrained: PretrainedOption = None,
    inputs: InputsOption = None,
    data: InputsDataOption = None,
    data_dir: DataDirOption = None,
    classes: ClassesOption = None,
    bits: Annotated[int, typer.Option(help="Bits of a weight, 2 to 6.")] = 3,
    act_bits: Annotated[int, typer.Option(help="Bits of an activation, 2 to 16.")] = 8,
    input_bits: InputBitsOption = None,
    output_bits: OutputBitsOption = None,
    requant_mode: Annotated[
        str, typer.Option(help="shift, or scale (with 16-bit multipliers).")
    ] = "shift",
    images: Annotated[
        int, typer.Option(min=16, max=1 << 20, help="Use at most so many inputs.")
    ] = 1024,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Of what is random.")] = 0,
    json: JsonOption = None,
) -> None:
    """Quantize a trained network with some inputs, without labels and without training it.

    Weights are rounded so that each makes up for the errors of those before it, which takes
    minutes. Training reaches more.
    """
    from nbqnn_train.convert import QuantConfig
    from scripts.quantizing import Task, quantize_network

    task = Task(
        model=model,
        pretrained=pretrained,
        inputs=inputs,
        data=data,
        data_dir=data_dir,
        classes=classes,
    )
    with progress("quantizing") as report:
        result = quantize_network(
            task,
            out,
            QuantConfig(
                weight_bits=bits,
                act_bits=act_bits,
                input_bits=input_bits,
                output_bits=output_bits,
                requant_mode=requant_mode,
            ),
            images=images,
            seed=seed,
            progress=report,
        )
    write_json(json, result)
    print_notes(result.notes)
    if result.agreement is not None:
        console.print(
            f"same class as in full precision for {result.agreement:.2%} of the "
            f"{result.images} inputs",
            soft_wrap=True,
        )
    if result.accuracy is not None:
        console.print(
            f"accuracy {result.accuracy:.2%} of {result.test_images} test images, in full "
            f"precision {result.float_accuracy:.2%}",
            soft_wrap=True,
        )
    console.print(f"{result.nodes} nodes in {out}", soft_wrap=True)
