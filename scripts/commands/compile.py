"""``nbqnn compile``: a graph for one accelerator."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console

__all__ = ["compile_"]


def compile_(
    graph: Annotated[Path, typer.Argument(metavar="GRAPH", help="Graph file.")],
    hw: Annotated[Path, typer.Option("--hw", metavar="BUILD", help="Folder of generate.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PROGRAM", help="Program file.")],
    batch: Annotated[
        int, typer.Option(metavar="N", help="Images of a run; linear layers share their weights.")
    ] = 1,
) -> None:
    """Turn a graph into commands, packed weights and a memory map for an accelerator."""
    from hw.compiler import compile_graph, save_program
    from hw.synth.build import read_build
    from nbqnn_train.graph import load

    config = read_build(hw).config
    program = compile_graph(load(graph), config, batch=batch)
    save_program(program, out)
    console.print(f"program for {config.name} in {out}", soft_wrap=True)
