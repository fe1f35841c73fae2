"""Runs programs on the Verilated accelerator and compares every code with the interpreter's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw.compiler import compile_graph
from hw.contract.causes import Stall
from hw.contract.images import by_input, checked_images
from hw.contract.memory_timing import BoardMemory, MemoryTiming
from hw.contract.program import Program, load_program
from hw.driver import RunResult
from hw.model.cycles import estimate_cycles
from hw.model.results import CycleEstimate, windows_by_layer
from hw.model.traffic import layer_bytes, most_bytes_per_cycle
from nbqnn_train.graph import run
from sim.bus import Trace
from sim.design import Design, built_design, generated_design
from sim.results import FirstDifference, LayerResult, SimulationResult
from sim.runs import (
    Simulation,
    compare_in_pieces,
    images_of_run,
    longest_run,
    open_driver,
)
from sim.schedule import layer_windows
from sim.traces import TraceRequest, layer_span
from sim.watch import Watched

if TYPE_CHECKING:
    from hw.tools.cluster import Cluster

__all__ = [
    "first_difference",
    "simulate",
    "simulate_program",
    "summary",
]


def simulate(
    path: Path,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    hw: Path | None = None,
    memory: BoardMemory | None = None,
    traces: Sequence[TraceRequest] = (),
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """:func:`simulate_program` of a program file, with a board's memory at the program's clock.

    ``hw`` is the build whose Verilog is simulated. Without one, the Verilog is generated now.
    """
    program = load_program(path)
    design = None if hw is None else built_design(program, hw)
    timing = None if memory is None else memory.timing(program.config.clock_mhz)
    return simulate_program(
        program,
        x,
        design=design,
        timing=timing,
        traces=traces,
        cluster=cluster,
        progress=progress,
    )


def simulate_program(
    program: Program,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    design: Design | None = None,
    timing: MemoryTiming | None = None,
    traces: Sequence[TraceRequest] = (),
    cluster: "Cluster | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Runs images on the RTL and compares every output code with the interpreter's.

    An interrupt from the keyboard ends it. It then returns what is done, if anything.

    Parameters
    ----------
    program : Program
    x : array, float32, shape (images, C, H, W)
        In the units the network was trained on. For several inputs a mapping from their names to
        such arrays.
    design : Design, optional
        The design that is simulated. None: the accelerator that is generated now.
    timing : MemoryTiming, optional
        Timing of the memory behind the AXI ports.
    traces : sequence of TraceRequest
        Files of signals, written in one more run: of the first wrong image, else of the first
        image.
    cluster : Cluster, optional
        Its workers run the images. They compile the accelerator into their own caches.
    progress : callable, optional
        Called with the number of images done and the number of all images.
    """
    # Checked before the simulator is built, which can take a minute.
    x = checked_images(program.graph, x)
    for request in traces:
        request.check(program)
    design = design or generated_design(program)
    timing = timing or MemoryTiming()
    estimate = estimate_cycles(program, timing)
    longest = longest_run(program, estimate.cycles)
    simulation = Simulation(program, design.verilog, timing, longest)
    found = compare_in_pieces(simulation, x, estimate.cycles, cluster, progress)
    results, first, error = list(found.runs), found.wrong, found.error
    mismatch = None
    if first is not None:
        result = results[first // program.batch]
        mismatch = _locate(program, design, x, first, result, timing, longest)
    traced = first or 0
    for request in traces if results and found.complete else ():
        trace = request.trace(program, results[traced // program.batch])
        images = images_of_run(program, x, traced)
        _write_trace(program, design, images, trace, timing, longest)
    mismatches = (first is not None) + (error is not None)
    return summary(
        program,
        results,
        mismatches,
        mismatch,
        estimate,
        seen=found.seen,
        bytes_per_cycle=most_bytes_per_cycle(program.config, timing),
        error=error,
        complete=found.complete,
        build=design.origin.to_dict(),
        as_generated=design.as_generated,
    )


def _write_trace(
    program: Program,
    design: Design,
    images: np.ndarray,
    trace: Trace,
    timing: MemoryTiming,
    longest: int,
) -> None:
    """Runs the images once more and writes the trace. Only a complete file gets its name."""
    beside = trace.path.with_name(trace.path.name + ".part")
    try:
        traced = replace(trace, path=beside)
        bus, driver = open_driver(program, design.verilog, timing, longest, trace=traced)
        with bus:
            driver.run(images)
        beside.replace(trace.path)
    finally:
        beside.unlink(missing_ok=True)


def _locate(
    program: Program,
    design: Design,
    x: np.ndarray,
    index: int,
    result: RunResult,
    timing: MemoryTiming,
    longest: int,
) -> dict:
    """The first layer and position of image ``index`` that differ.

    One more run with the same weights stores all layers. If it shows no difference (the commands of
    the program may be wrong), the difference is taken from ``result``. ``longest`` is the limit of
    a run that stores only its outputs.
    """
    traced = compile_graph(program.graph, program.config, batch=program.batch, traced=True)
    traced = replace(traced, parameters=program.parameters)
    bus, driver = open_driver(traced, design.verilog, timing, 4 * longest)
    with bus:
        codes = driver.run(images_of_run(program, x, index)).traced
    layers = {layer.name: layer.output for layer in traced.layers if layer.output in codes}
    number = index % program.batch
    candidates = [(name, output, codes[output][number]) for name, output in layers.items()]
    return first_difference(program, x[index : index + 1], index, result, candidates)


def first_difference(
    program: Program,
    image: np.ndarray,
    index: int,
    result: RunResult,
    layers: Sequence[tuple[str, str, np.ndarray]] = (),
) -> FirstDifference:
    """The first difference: in the layers, then in the outputs.

    layers : (name, output, codes) of each layer.
    image : the image with number ``index``, with the axis N; ``result`` is that of its run.
    """
    expected = run(program.graph, by_input(program.graph, image), trace=True)
    named = {layer.output: layer.name for layer in program.layers}
    number = index % program.batch
    outputs = {name: codes[number] for name, codes in result.outputs.items()}
    candidates = [
        *layers,
        *((named.get(name, name), name, codes) for name, codes in outputs.items()),
    ]
    for name, output, actual in candidates:
        wanted = expected[output].reshape(actual.shape)
        if not np.array_equal(actual, wanted):
            position = tuple(int(i) for i in np.argwhere(actual != wanted)[0])
            return FirstDifference(
                image=index,
                layer=name,
                channel=position[0],
                position=position[1:],
                expected=int(wanted[position]),
                actual=int(actual[position]),
                cycles=layer_span(program, result, name, number),
            )
    raise AssertionError(f"image {index} differed and no longer does")


def summary(
    program: Program,
    results: list[RunResult],
    mismatches: int,
    mismatch: FirstDifference | None,
    estimate: CycleEstimate | None = None,
    seen: Watched | None = None,
    **more: object,
) -> SimulationResult:
    """The result of these runs; ``more`` are fields. It has estimates if ``estimate`` is given, and
    with ``seen``, of the first run, the schedule."""
    rate, batch = program.config.multiplies_per_cycle, program.batch
    cycles = float(np.mean([result.cycles for result in results])) / batch if results else 0.0
    macs = sum(layer.macs for layer in program.layers) / batch
    if estimate is not None:
        more |= {
            "estimated_cycles": round(estimate.cycles / batch),
            "estimated_stalls": {
                cause: round(stalled / batch) for cause, stalled in estimate.stalls.items()
            },
        }
    return SimulationResult(
        images=sum(len(next(iter(result.outputs.values()))) for result in results),
        batch=batch,
        mismatches=mismatches,
        first_mismatch=mismatch,
        cycles_per_image=cycles,
        stalls={
            name: float(np.mean([result.stalls[name] for result in results])) / batch
            for name in (cause.name.lower() for cause in Stall)
            if results
        },
        clock_mhz=program.config.clock_mhz,
        macs_per_cycle=rate,
        utilization=macs / (cycles * rate) if cycles else 0.0,
        layers=_layers(program, results, estimate, seen) if results else (),
        **more,
    )


def _layers(
    program: Program,
    results: list[RunResult],
    estimate: CycleEstimate | None,
    seen: Watched | None,
) -> tuple[LayerResult, ...]:
    per_layer = np.mean([result.layer_cycles for result in results], axis=0)
    measured = program.per_image(
        {"cycles": float(taken), "macs": layer.macs}
        for layer, taken in zip(program.layers, per_layer, strict=True)
    )
    estimated: dict[str, dict[str, int]] = {}
    if estimate is not None:
        per_image = program.per_image(
            {"estimated_cycles": layer.cycles, "bytes": own, "moved": layer.moved}
            for layer, own in zip(estimate.layers, layer_bytes(program), strict=True)
        )
        estimated = {
            name: {field: round(value) for field, value in values.items()}
            for name, values in per_image.items()
        }
    if estimate is not None and seen is not None:
        ends = np.cumsum(results[0].layer_cycles).tolist()
        steps = [layer.array for layer in estimate.layers]
        names = [layer.name for layer in estimate.layers]
        seen_windows = layer_windows(program, seen, steps, ends)
        for field, windows in (
            ("windows", seen_windows),
            ("estimated_windows", [layer.windows for layer in estimate.layers]),
        ):
            for name, engines in windows_by_layer(zip(names, windows, strict=True)).items():
                estimated[name][field] = engines
    rate = program.config.multiplies_per_cycle
    return tuple(
        LayerResult(
            name=name,
            cycles=values["cycles"],
            macs=int(values["macs"]),
            utilization=int(values["macs"]) / (values["cycles"] * rate),
            **estimated.get(name, {}),
        )
        for name, values in measured.items()
    )
