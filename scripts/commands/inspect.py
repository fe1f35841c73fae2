"""``nbqnn inspect``: what a graph consists of."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console
from scripts.tables import node_table

__all__ = ["inspect"]


def inspect(
    graph: Annotated[Path, typer.Argument(metavar="GRAPH", help="Graph file.")],
) -> None:
    """List the nodes of a graph: shapes, widths, zeros among the weights, work and size."""
    from nbqnn_train.graph import load
    from nbqnn_train.graph.report import describe

    console.print(node_table(describe(load(graph))))
