"""``nbqnn inspect``: what a graph consists of, and what quantization did."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import DataDirOption, JsonOption, RunArgument
from scripts.graph_tables import CAPTION, node_table, quantization_table
from scripts.output import console, write_json

__all__ = ["inspect"]


def inspect(
    path: RunArgument,
    data: Annotated[
        str | None, typer.Option(help="Data set for activations; a run has its own.")
    ] = None,
    data_dir: DataDirOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Full-precision weights to compare a run with, in place of its own.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """List the nodes: shapes, widths, work, size; errors, clipping and use of codes."""
    from nbqnn_train.inspection import inspect as run_inspection

    result = run_inspection(path, data, data_dir, against)
    write_json(json, result)
    console.print(node_table(result.nodes))
    if result.images:
        console.print(quantization_table(result.nodes))


#: The help explains the columns as the table does.
inspect.__doc__ += f"\n\n{CAPTION}"
