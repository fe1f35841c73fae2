"""``nbqnn import``: from a QONNX model to the integer graph."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console

__all__ = ["import_"]


def import_(
    model: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="QONNX model.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="GRAPH", help="Graph file.")],
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Accept ties that round to even (they go up) and scales of over 16 bits.",
        ),
    ] = False,
) -> None:
    """Turn a network that another tool quantized to powers of two into an integer graph."""
    from nbqnn_train.graph import save
    from nbqnn_train.qonnx import import_qonnx

    graph = import_qonnx(model, exact=not approximate)
    save(graph, out)
    console.print(f"{len(graph.nodes)} nodes in {out}", soft_wrap=True)
