"""``nbqnn simulate``: the accelerator against the interpreter."""

from pathlib import Path
from typing import Annotated

import typer

from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.options import ClusterOption, JsonOption, program_file
from scripts.images import read_images, read_inputs
from scripts.output import console, progress, write_json
from scripts.tables import layer_table, stall_line

__all__ = ["simulate"]

#: Exit code of an interrupted command.
_INTERRUPTED = 130


def simulate(
    program: Annotated[
        Path,
        typer.Argument(
            callback=program_file, metavar="PROGRAM", help="Program file, or build of a circuit."
        ),
    ],
    images: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="X.npy",
            help="Images, float32 (N, C, H, W), or vectors (N, F); .npz for several inputs.",
        ),
    ],
    hw: Annotated[
        Path | None,
        typer.Option(metavar="BUILD", help="Simulate the Verilog of this folder of generate."),
    ] = None,
    netlist: Annotated[
        Path | None,
        typer.Option(help="Simulate this netlist of synth --tool nextpnr, over its serial line."),
    ] = None,
    memory: Annotated[
        str, typer.Option(help="Board whose memory is behind the AXI ports.")
    ] = "zcu102",
    bandwidth: Annotated[
        float | None, typer.Option(metavar="GB/S", min=0, help="In place of the board's.")
    ] = None,
    read_ns: Annotated[
        float | None, typer.Option(min=0, max=1e6, help="Latency, in place of the board's.")
    ] = None,
    write_ns: Annotated[
        float | None, typer.Option(min=0, max=1e6, help="Latency, in place of the board's.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="With the pauses in which DDR4 is refreshed.")
    ] = False,
    fst: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Waveforms of one image, small.")
    ] = None,
    vcd: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Waveforms of one image, for any viewer.")
    ] = None,
    saif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Switching activity, for power.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this layer in these files.")
    ] = None,
    cycles: Annotated[
        str | None,
        typer.Option(
            metavar="A:B", help="Only these cycles in these files, of the run or of the layer."
        ),
    ] = None,
    cluster: ClusterOption = None,
    json: JsonOption = None,
) -> None:
    """Run the Verilated accelerator and compare every output code; exit code 1 on a difference.

    Ctrl-C ends it with the images that have run so far.
    """
    from scripts.clusters import connected
    from scripts.simulation import run_simulation

    if program.is_dir():
        if cluster is not None:
            raise NbqnnError("a circuit is simulated on this machine, without --cluster")
        others = {
            "--hw": hw,
            "--netlist": netlist,
            "--bandwidth": bandwidth,
            "--read-ns": read_ns,
            "--write-ns": write_ns,
            "--refresh": refresh or None,
            "--fst": fst,
            "--vcd": vcd,
            "--saif": saif,
            "--layer": layer,
            "--cycles": cycles,
        }
        if given := [option for option, value in others.items() if value is not None]:
            raise NbqnnError(
                f"the simulation of a circuit takes --input and --json, not {', '.join(given)}"
            )
        from scripts.spatial import spatial_lines
        from sim.spatial.simulate import simulate_spatial

        with progress("simulating"):
            result = simulate_spatial(program, read_images(images))
        write_json(json, result)
        for line in spatial_lines(result):
            console.print(line, soft_wrap=True)
        raise typer.Exit(1 if result.mismatches else 0)
    with connected(cluster) as workers, progress("simulating") as report:
        result = run_simulation(
            program,
            read_inputs(images),
            hw=hw,
            netlist=netlist,
            memory=memory,
            bandwidth=bandwidth,
            read_ns=read_ns,
            write_ns=write_ns,
            refresh=refresh,
            files={"fst": fst, "vcd": vcd, "saif": saif},
            layer=layer,
            cycles=cycles,
            cluster=workers,
            progress=report,
        )
    write_json(json, result)
    if result.as_generated is False:
        console.print("note: the Verilog of the build is not what generate wrote")
    if result.error is not None:
        console.print(
            f"{result.images} images were right, then a run failed: {result.error}",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    console.print(layer_table(result))
    console.print(
        f"{result.images} images, {result.mismatches} mismatches, "
        f"{result.cycles_per_image:,.0f} cycles per image, "
        f"utilization {result.utilization:.1%}"
    )
    console.print(stall_line(result.stalls), soft_wrap=True)
    if result.mismatches:
        first = result.first_mismatch
        begin, end = first.cycles
        console.print(
            f"first difference: image {first.image}, layer {first.layer}, "
            f"channel {first.channel}, position {first.position}: "
            f"{first.actual}, not {first.expected}; cycles {begin}...{end} of the run",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    if not result.complete:
        console.print("it was interrupted; these are the images that ran", soft_wrap=True)
        raise typer.Exit(_INTERRUPTED)
