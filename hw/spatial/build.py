"""Writes and reads the build folder of a network that is a circuit of its own."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from hw.contract.files import write_texts
from hw.rtl.ultrascale.twins import explicit_verilog
from hw.rtl.verilog import VerilogLibrary
from hw.spatial.delay import estimated_mhz, levels_for
from hw.spatial.lowering import plan_network
from hw.spatial.plan import NetworkPlan
from hw.spatial.stream import TOP, CircuitStream
from nbqnn_train.graph import Conv2d, Graph, Linear, NbqnnError, graph_digest, load
from nbqnn_train.graph.storage import encode

__all__ = [
    "GRAPH",
    "KIND",
    "SpatialBuild",
    "described_circuit",
    "generate_spatial",
    "is_spatial",
    "read_spatial",
    "spatial_verilog",
]

KIND = "spatial"
#: The file with the graph in the folder of a build.
GRAPH = "network.graph"


@dataclass(frozen=True, kw_only=True)
class SpatialBuild:
    """What ``generate --spatial`` wrote beside the Verilog.

    interval : cycles from one position of the input to the next.
    cycles_per_image : cycles from one image to the next, where images follow without a pause.
    latency : cycles from an image's first beat to its first result, with the streams' queue.
    inputs, outputs : channels, all of them in each beat.
    input_positions, output_positions : beats of an image.
    weights : number of weights in all layers.
    tables : look-up tables, estimated before synthesis.
    levels : additions between registers.
    """

    kind: str
    graph: str
    clock_mhz: int
    estimated_mhz: float
    levels: int
    interval: int
    cycles_per_image: int
    latency: int
    inputs: int
    input_bits: int
    input_positions: int
    outputs: int
    output_bits: int
    output_positions: int
    output_signed: bool
    weights: int
    additions: int
    tables: int


def _describe(graph: Graph, plan: NetworkPlan, clock_mhz: int, latency: int) -> SpatialBuild:
    source, result = plan.source, plan.result
    weighted = (Conv2d, Linear)
    return SpatialBuild(
        kind=KIND,
        graph=graph_digest(graph),
        clock_mhz=clock_mhz,
        estimated_mhz=round(estimated_mhz(plan.levels), 1),
        levels=plan.levels,
        interval=plan.pace.interval,
        cycles_per_image=plan.cycles_per_image,
        latency=latency,
        inputs=source.shape[0],
        input_bits=source.bits,
        input_positions=prod(source.shape[1:]),
        outputs=result.shape[0],
        output_bits=result.bits,
        output_positions=prod(result.shape[1:]),
        output_signed=result.signed,
        weights=sum(node.weight.size for node in graph.nodes if isinstance(node, weighted)),
        additions=plan.additions,
        tables=plan.tables,
    )


def generate_spatial(
    graph: Graph,
    out: Path,
    clock_mhz: int,
    interval: int = 1,
    tables: int | None = None,
    progress: Callable[[str], None] = lambda layer: None,
) -> SpatialBuild:
    """Writes ``rtl/nbqnn.v`` for any family, ``rtl/nbqnn_xcup.v`` with cells of UltraScale+ in
    place of its additions, ``hw.json`` and the graph.

    ``tables`` is the number of look-up tables that the device has, None for no limit.
    Equal graphs, clocks and intervals give equal files.

    Raises :class:`hw.spatial.errors.SpatialError` for a graph that no circuit can be made of.
    """
    out = Path(out)
    plan = plan_network(graph, levels_for(clock_mhz), interval, progress, tables)
    top, library = CircuitStream(plan), VerilogLibrary()
    library.add(top)
    verilog = library.verilog()
    described = _describe(graph, plan, clock_mhz, top.latency)
    write_texts(
        out,
        {
            "rtl/nbqnn.v": verilog,
            "rtl/nbqnn_xcup.v": explicit_verilog(verilog, library.components, "xcup"),
            GRAPH: encode(graph),
            "hw.json": json.dumps(asdict(described), indent=2) + "\n",
        },
    )
    return described


def is_spatial(path: Path) -> bool:
    """Whether the folder ``path`` is the build of a circuit."""
    try:
        return json.loads((Path(path) / "hw.json").read_text(encoding="utf-8"))["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def described_circuit(path: Path) -> SpatialBuild | None:
    """What a build's ``hw.json`` says; None if it is not that of a circuit of this version."""
    try:
        return SpatialBuild(**json.loads((Path(path) / "hw.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def read_spatial(path: Path) -> tuple[SpatialBuild, Graph]:
    """The description and the graph of a build; :exc:`NbqnnError` for a folder that is none."""
    path = Path(path)
    described = described_circuit(path)
    if described is None:
        raise NbqnnError(
            f"build {str(path)!r} must be a folder that generate --spatial wrote, but its hw.json "
            "cannot be read or is not a circuit's; an accelerator takes the program of compile"
        )
    graph = load(path / GRAPH)
    if graph_digest(graph) != described.graph:
        raise NbqnnError(f"build {str(path)!r}: {GRAPH} is another graph than hw.json says")
    return described, graph


def spatial_verilog(path: Path, family: str) -> tuple[str, str]:
    """The Verilog to synthesize for a ``family``, and its top module."""
    name = "nbqnn_xcup.v" if family == "xcup" else "nbqnn.v"
    try:
        return (Path(path) / "rtl" / name).read_text(encoding="utf-8"), TOP
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise NbqnnError(f"build {str(path)!r}: rtl/{name} cannot be read: {reason}") from None
