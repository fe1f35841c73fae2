"""``nbqnn export``: from a run to the integer graph."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.outputs import output_file
from scripts.output import console

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that train wrote.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", callback=output_file, metavar="GRAPH", help="Graph file.")
    ],
    qonnx: Annotated[
        Path | None, typer.Option(callback=output_file, help="Also write a QONNX model.")
    ] = None,
) -> None:
    """Write the trained network as an integer graph: what it computes, to the bit."""
    from nbqnn_train.graph import save
    from nbqnn_train.inputs.meaning import meaning_file, write_meaning
    from nbqnn_train.learn.trained import graph_and_meaning

    graph, meaning = graph_and_meaning(run)
    if qonnx is not None:
        from nbqnn_train.qonnx import export_qonnx

        export_qonnx(graph, qonnx)
    save(graph, out)
    write_meaning(meaning_file(out), meaning, graph)
    console.print(f"{len(graph.nodes)} nodes in {out}", soft_wrap=True)
