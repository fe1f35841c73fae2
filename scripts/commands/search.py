"""``nbqnn search``: a width for every layer."""

from pathlib import Path
from typing import Annotated

import typer

from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.options import (
    ClassesOption,
    ClusterOption,
    DataDirOption,
    InputBitsOption,
    InputsDataOption,
    InputsOption,
    JsonOption,
    ModelOption,
    OutputBitsOption,
    PretrainedOption,
)
from scripts.output import console, progress, write_json

__all__ = ["search"]


def search(
    model: ModelOption,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Graphs, options and pictures.")
    ],
    pretrained: PretrainedOption = None,
    inputs: InputsOption = None,
    data: InputsDataOption = None,
    data_dir: DataDirOption = None,
    classes: ClassesOption = None,
    widths: Annotated[
        str, typer.Option(metavar="B,B,...", help="Bits that a layer's weights may have.")
    ] = "2,3,4",
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="The best network with at most so many weight bytes.")
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The smallest that gives so often the class of float."),
    ] = None,
    points: Annotated[
        int, typer.Option(min=1, max=100, help="Without a budget: mixes of so many sizes.")
    ] = 3,
    act_bits: Annotated[int, typer.Option(help="Bits of an activation, 2 to 16.")] = 8,
    input_bits: InputBitsOption = None,
    output_bits: OutputBitsOption = None,
    requant_mode: Annotated[
        str, typer.Option(help="shift, or scale (with 16-bit multipliers).")
    ] = "shift",
    images: Annotated[
        int, typer.Option(min=16, max=1 << 20, help="Quantize with at most so many inputs.")
    ] = 512,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Of what is random.")] = 0,
    cluster: ClusterOption = None,
    json: JsonOption = None,
) -> None:
    """Find a width for every layer's weights, without labels and without training.

    Each layer is rounded to every width once; how much the outputs suffer tells which mixes are
    worth making. Those are quantized as a whole, beside the uniform ones. A search that was stopped
    goes on in its folder. On a cluster each network is a piece, and its files must be where all
    workers see them. `nbqnn train --config FOLDER/NAME.toml` trains such a mix.
    """
    from nbqnn_train.convert import QuantConfig
    from scripts.clusters import connected
    from scripts.quantizing import Task
    from scripts.search_table import search_table
    from scripts.searching import PICTURES, Budget, read_widths, search_widths

    if max_bytes is not None and min_agreement is not None:
        raise NbqnnError("Budget must be one of --max-bytes and --min-agreement")
    task = Task(
        model=model,
        pretrained=pretrained,
        inputs=inputs,
        data=data,
        data_dir=data_dir,
        classes=classes,
    )
    with connected(cluster) as workers, progress("searching") as report:
        result = search_widths(
            task,
            out,
            QuantConfig(
                act_bits=act_bits,
                input_bits=input_bits,
                output_bits=output_bits,
                requant_mode=requant_mode,
            ),
            read_widths(widths),
            Budget(points, max_bytes, min_agreement),
            images=images,
            seed=seed,
            cluster=workers,
            progress=lambda done, total, _: report(done, total),
        )
    write_json(json, result)
    console.print(search_table(result))
    if result.best is not None:
        console.print(f"within the budget: {out / result.best}", soft_wrap=True)
    console.print(f"pictures in {out / PICTURES}", soft_wrap=True)
