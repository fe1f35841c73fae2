"""``nbqnn import``: from a QONNX model to the integer graph."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import JsonOption
from scripts.commands.outputs import output_file
from scripts.output import console, print_notes, write_json

__all__ = ["import_"]


def import_(
    model: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="QONNX or QDQ model.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", callback=output_file, metavar="GRAPH", help="Graph file.")
    ],
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Accept what is not exact: ties to even go up, scales take 16 bits.",
        ),
    ] = False,
    input_format: Annotated[
        str | None,
        typer.Option(
            metavar="S8:-7",
            help="Format of inputs that the model does not quantize: signed or unsigned, bits, "
            "exponent of the step.",
        ),
    ] = None,
    round_weights: Annotated[
        int | None,
        typer.Option(metavar="BITS", help="Round weights that are no powers of two."),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="X.npy",
            help="Compare with the model on these images; exit code 1 if not equal.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Turn a network that another tool quantized to powers of two into an integer graph."""
    from scripts.importing import run_import

    result = run_import(model, out, approximate, input_format, round_weights, verify)
    write_json(json, result)
    print_notes(result.notes)
    console.print(f"{result.nodes} nodes in {out}", soft_wrap=True, markup=False)
    if verify is not None:
        console.print(result.verified, soft_wrap=True, markup=False)
        if result.mismatches:
            raise typer.Exit(1)
