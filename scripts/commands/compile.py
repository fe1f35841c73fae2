"""``nbqnn compile``: a graph for one accelerator."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import GraphArgument, JsonOption
from scripts.commands.outputs import output_file
from scripts.output import console, write_json
from scripts.tables import estimate_table, stall_line

__all__ = ["compile_"]


def compile_(
    graph: GraphArgument,
    hw: Annotated[Path, typer.Option("--hw", metavar="BUILD", help="Folder of generate.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=output_file, metavar="PROGRAM", help="Program file."),
    ],
    batch: Annotated[
        int, typer.Option(metavar="N", help="Images of a run; linear layers share their weights.")
    ] = 1,
    arg_max: Annotated[
        bool,
        typer.Option("--arg-max", help="Outputs are the numbers of the largest channels."),
    ] = False,
    memory: Annotated[
        str, typer.Option(help="Board whose memory is behind the AXI ports, for the cycles.")
    ] = "zcu102",
    json: JsonOption = None,
) -> None:
    """Turn a graph into commands, packed weights and a memory map for an accelerator.

    The cycles that it will take are those of the cycle model.
    """
    from hw.boards.registry import find_memory
    from hw.compiler import compile_graph, save_program
    from hw.model.estimate import estimate_program
    from hw.synth.build import read_build
    from nbqnn_train.graph import load, with_arg_max
    from nbqnn_train.inputs.meaning import meaning_file, read_meaning, write_meaning

    behind = find_memory(memory)
    build = read_build(hw)
    config = build.config
    whole = load(graph)
    compiled = with_arg_max(whole) if arg_max else whole
    program = replace(compile_graph(compiled, config, batch=batch), build=build.origin)
    save_program(program, out)
    if meaning_file(graph).is_file():
        meaning = read_meaning(meaning_file(graph), whole)
        write_meaning(meaning_file(out), meaning, program.graph)
    result = estimate_program(program, behind)
    if build.origin is not None:
        result = replace(result, build=build.origin.to_dict())
    write_json(json, result)
    console.print(estimate_table(result))
    console.print(
        f"{result.cycles_per_image:,.0f} cycles per image by the cycle model, "
        f"{result.images_per_second:,.1f} images/s at {config.clock_mhz} MHz, "
        f"utilization {result.utilization:.1%}",
        soft_wrap=True,
    )
    console.print(stall_line(result.stalls), soft_wrap=True)
    console.print(f"program for {config.name} in {out}", soft_wrap=True)
