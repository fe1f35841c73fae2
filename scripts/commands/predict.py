"""``nbqnn predict``: what pictures show."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import JsonOption, graph_file
from scripts.output import console, progress, write_json
from scripts.prediction_table import predictions_table

__all__ = ["predict"]


def predict(
    path: Annotated[
        Path,
        typer.Argument(
            callback=graph_file,
            metavar="GRAPH|PROGRAM|BUILD",
            help="Graph or program file, build of a circuit, or a name of nbqnn models.",
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES…", help="Pictures, or .npy arrays of float32 inputs."),
    ],
    top: Annotated[int, typer.Option(min=1, max=1000, help="Show so many classes.")] = 5,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes, one in each line.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,M", help="Of the training data by channel, in 0 to 1; with --std."
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="S,S,S", help="Standard deviation, likewise.")
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(min=0.2, max=1, help="Share of a picture's shorter side that is looked at."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Name the classes of pictures: by the interpreter, or on the simulated hardware.

    How pictures become inputs and what classes are called is kept beside the graph of a trained
    run, its program and its circuit. Exit code 1 if the hardware differs from the interpreter.
    """
    from scripts.predicting import Given
    from scripts.predicting import predict as run_prediction

    with progress("predicting") as report:
        result = run_prediction(path, images, top, Given(mean, std, crop, classes), report)
    write_json(json, result)
    console.print(predictions_table(result))
    if result.by == "interpreter":
        return
    console.print(
        f"{result.cycles_per_image:,.0f} cycles, {result.microseconds_per_image:,.2f} µs "
        f"for an image at {result.clock_mhz} MHz"
        f"{' by the cycle model' if result.by == 'accelerator' else ''}",
        soft_wrap=True,
    )
    if result.mismatches:
        which = "the last image's" if result.by == "accelerator" else f"{result.mismatches} images'"
        console.print(
            f"{which} outputs are not the interpreter's; nbqnn simulate says where", soft_wrap=True
        )
        raise typer.Exit(1)
