"""Runs programs on the Verilated accelerator and compares every code with the interpreter's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hw.compiler import compile_graph
from hw.contract.causes import Stall
from hw.contract.memory_timing import BoardMemory, MemoryTiming
from hw.contract.program import Port, Program, load_program
from hw.driver import Driver, RunResult, memory_bytes
from hw.model.cycles import estimate_cycles
from hw.model.results import CycleEstimate
from hw.model.traffic import layer_bytes
from nbqnn_train.graph import Graph, NbqnnError, run
from sim.bus import Trace, VerilatedBus
from sim.verilated.build import check_trace

__all__ = [
    "TraceRequest",
    "checked_images",
    "compare_images",
    "first_difference",
    "layer_span",
    "longest_run",
    "open_driver",
    "simulate",
    "simulate_program",
    "summary",
]

#: Cycles added around a layer's span: its first steps are before its own time stamps.
_MARGIN = 50
#: Images that the interpreter works on together.
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """A file of signals: of the whole run or of one layer, of all cycles or of a span of them.

    cycles : first cycle and end of the span, counted from the beginning of the run, or of the layer
        if there is one.
    form : "vcd", "fst" or "saif".
    """

    path: Path
    form: str
    layer: str | None = None
    cycles: tuple[int, int] | None = None

    def check(self, program: Program) -> None:
        """Raises :exc:`NbqnnError` for what cannot be traced.

        That is an unknown layer, an empty span, a missing folder, or a form that lacks headers
        here.
        """
        if not self.path.parent.is_dir():
            raise NbqnnError(f"file {str(self.path)!r} must be in a folder that exists")
        check_trace(self.form)
        names = [layer.name for layer in program.layers]
        if self.layer is not None and self.layer not in names:
            raise NbqnnError(f"layer must be one of {', '.join(names)}, not {self.layer!r}")
        if self.cycles is not None and not 0 <= self.cycles[0] < self.cycles[1]:
            raise NbqnnError(
                f"cycles must be A:B with 0 <= A < B, not {self.cycles[0]}:{self.cycles[1]}"
            )

    def trace(self, program: Program, result: RunResult) -> Trace:
        """What to trace in a run that goes like the one of ``result``."""
        begin, end = self.cycles or (0, None)
        if self.layer is not None:
            first, last = layer_span(program, result, self.layer)
            if self.cycles is None:
                begin, end = max(0, first - _MARGIN), last + _MARGIN
            else:
                begin, end = first + begin, first + end
        return Trace(path=self.path, form=self.form, begin=begin, end=end)


def open_driver(
    program: Program,
    timing: MemoryTiming | None = None,
    max_cycles: int | None = None,
    trace: Trace | None = None,
) -> tuple[VerilatedBus, Driver]:
    """A Verilated accelerator with the program loaded. The caller closes the bus."""
    bus = VerilatedBus(
        program.config,
        memory_bytes=memory_bytes(program),
        max_cycles=longest_run(program) if max_cycles is None else max_cycles,
        timing=timing,
        trace=trace,
    )
    return bus, Driver(bus, program)


def longest_run(program: Program) -> int:
    """Cycles far above those of any run that gets on."""
    macs = sum(layer.macs for layer in program.layers)
    return 200_000 + 8 * macs + 100 * memory_bytes(program)


def simulate(
    path: Path,
    x: np.ndarray,
    *,
    memory: BoardMemory | None = None,
    traces: Sequence[TraceRequest] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """:func:`simulate_program` of a program file, with a board's memory at the program's clock."""
    program = load_program(path)
    timing = None if memory is None else memory.timing(program.config.clock_mhz)
    return simulate_program(program, x, timing=timing, traces=traces, progress=progress)


def simulate_program(
    program: Program,
    x: np.ndarray,
    *,
    timing: MemoryTiming | None = None,
    traces: Sequence[TraceRequest] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Runs images on the RTL and compares every output code with the interpreter's.

    Parameters
    ----------
    program : Program
    x : array, float32, shape (images, C, H, W)
        In the units the network was trained on.
    timing : MemoryTiming, optional
        Of the memory behind the AXI port.
    traces : sequence of TraceRequest
        Files of signals to write in one more run of the first wrong image, else of the first.
    progress : callable, optional
        Called with the images done and all images.

    Returns
    -------
    dict
        ``images`` that ran: up to the run with the first wrong one; ``batch``, images of a run;
        ``mismatches`` (images with a wrong code),
        ``first_mismatch`` (None, or ``image``, ``layer``, ``channel``, ``position`` (row, column),
        ``expected``, ``actual``, and ``cycles``: begin and end of that layer in the run),
        ``cycles_per_image``, ``estimated_cycles``, ``stalls`` (cycles per image in which the array
        stood still, by the names of :class:`hw.contract.causes.Stall`), ``estimated_stalls``,
        ``clock_mhz``, what array and memory can do at
        most (``macs_per_cycle``, ``bytes_per_cycle``), ``utilization`` (of the array, over the
        whole run) and ``layers``, each with ``name``, ``cycles``, ``estimated_cycles``, ``macs``,
        ``bytes`` to and from the memory and ``utilization``; cycles are means over the images of
        whole runs, estimates the cycle model's.
    """
    # Before the simulator is built, which can take a minute.
    x = checked_images(program, x)
    for request in traces:
        request.check(program)
    timing = timing or MemoryTiming()
    bus, driver = open_driver(program, timing)
    with bus:
        results, wrong = compare_images(driver, program, x, progress)
    mismatch = None
    if wrong:
        first = wrong[0]
        mismatch = _locate(program, x, first, results[first // program.batch], timing)
    traced = wrong[0] if wrong else 0
    for request in traces if results else ():
        trace = request.trace(program, results[traced // program.batch])
        _write_trace(program, _group(program, x, traced), trace, timing)
    result = summary(program, results, len(wrong), mismatch, estimate_cycles(program, timing))
    ports = program.config.axi_beat_bits / 8
    result["bytes_per_cycle"] = min(timing.bytes_per_cycle or ports, ports)
    return result


def _group(program: Program, x: np.ndarray, index: int) -> np.ndarray:
    """The images of the run in which image ``index`` is."""
    begin = index // program.batch * program.batch
    return x[begin : begin + program.batch]


def _write_trace(program: Program, images: np.ndarray, trace: Trace, timing: MemoryTiming) -> None:
    """Runs the images once more. The file appears under its name when it is complete."""
    beside = trace.path.with_name(trace.path.name + ".part")
    try:
        bus, driver = open_driver(program, timing, trace=replace(trace, path=beside))
        with bus:
            driver.run(images)
        beside.replace(trace.path)
    finally:
        beside.unlink(missing_ok=True)


def checked_images(program: Program, x: np.ndarray) -> np.ndarray:
    """``x`` as float32. Raises :exc:`NbqnnError` if the network takes images of other shapes.

    A network of vectors (N, F) also takes images of one pixel, (N, F, 1, 1).
    """
    x = np.asarray(x, np.float32)
    shape = program.graph.input_nodes[0].shape
    if len(shape) == 1 and x.shape[1:] == (*shape, 1, 1):
        x = x.reshape(-1, *shape)
    if x.shape[1:] != shape:
        raise NbqnnError(f"Images must have shape (N, {', '.join(map(str, shape))}), not {x.shape}")
    return x


def compare_images(
    driver: Driver,
    program: Program,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[RunResult], list[int]]:
    """Runs images up to the first one with a code unlike the interpreter's.

    Returns the results of the runs, and the number of that image in a list; the list is empty if
    all codes are equal.
    """
    results: list[RunResult] = []
    step = program.batch * max(1, _BATCH // program.batch)
    for start in range(0, len(x), step):
        expected = _expected(program.graph, x[start : start + step], program.outputs)
        for begin in range(start, min(start + step, len(x)), program.batch):
            group = _group(program, x, begin)
            result = driver.run(group)
            results.append(result)
            for index in range(len(group)):
                if any(
                    not np.array_equal(
                        result.outputs[name][index].reshape(-1),
                        codes[begin - start + index].reshape(-1),
                    )
                    for name, codes in expected.items()
                ):
                    return results, [begin + index]
            if progress is not None:
                progress(begin + len(group), len(x))
    return results, []


def _expected(graph: Graph, batch: np.ndarray, ports: tuple[Port, ...]) -> dict[str, np.ndarray]:
    trace = run(graph, batch, trace=True)
    return {port.name: trace[port.name] for port in ports}


def _locate(
    program: Program, x: np.ndarray, index: int, result: RunResult, timing: MemoryTiming
) -> dict:
    """The first layer and position of image ``index`` that differ.

    One more run, with the program's own weights, stores all layers. If it shows no difference (the
    program's commands may be at fault), the difference is that of ``result``.
    """
    traced = compile_graph(program.graph, program.config, batch=program.batch, traced=True)
    traced = replace(traced, parameters=program.parameters)
    bus, driver = open_driver(traced, timing)
    with bus:
        codes = driver.run(_group(program, x, index)).traced
    layers = {layer.name: layer.output for layer in traced.layers if layer.output in codes}
    number = index % program.batch
    candidates = [(name, output, codes[output][number]) for name, output in layers.items()]
    return first_difference(program, x[index], index, result, candidates)


def first_difference(
    program: Program,
    image: np.ndarray,
    index: int,
    result: RunResult,
    layers: Sequence[tuple[str, str, np.ndarray]] = (),
) -> dict:
    """The first difference: in the layers, then in the outputs.

    layers : (name, output, codes) of each.
    image : number ``index`` of all images; ``result`` is that of its run.
    """
    expected = run(program.graph, image[None], trace=True)
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
            return {
                "image": index,
                "layer": name,
                "channel": position[0],
                "position": position[1:],
                "expected": int(wanted[position]),
                "actual": int(actual[position]),
                "cycles": layer_span(program, result, name, number),
            }
    raise AssertionError(f"image {index} differed and no longer does")


def layer_span(program: Program, result: RunResult, layer: str, number: int = 0) -> tuple[int, int]:
    """First cycle and end of a layer in the run: from the end of the layer before to its own.

    It is the whole run for what is no layer of the program. ``number`` is the image in the batch.
    """
    end = 0
    for other, cycles in zip(program.layers, result.layer_cycles, strict=True):
        begin, end = end, end + cycles
        if other.name == layer and other.image in (number, None):
            return begin, end
    return 0, result.cycles


def summary(
    program: Program,
    results: list[RunResult],
    mismatches: int,
    mismatch: dict | None,
    estimate: CycleEstimate | None = None,
) -> dict:
    """What :func:`simulate_program` returns. Estimates are in it if there are any."""
    rate, batch = program.config.multiplies_per_cycle, program.batch
    cycles = float(np.mean([result.cycles for result in results])) / batch if results else 0.0
    layers: dict[str, dict] = {}
    if results:
        per_layer = np.mean([result.layer_cycles for result in results], axis=0)
        per_image = program.per_image(
            {"cycles": float(taken), "macs": layer.macs}
            for layer, taken in zip(program.layers, per_layer, strict=True)
        )
        for name, values in per_image.items():
            macs, taken = int(values["macs"]), values["cycles"]
            layers[name] = {
                "name": name,
                "cycles": taken,
                "macs": macs,
                "utilization": macs / (taken * rate),
            }
    estimates = {}
    if estimate is not None:
        estimates = {
            "estimated_cycles": round(estimate.cycles / batch),
            "estimated_stalls": {
                cause: round(stalled / batch) for cause, stalled in estimate.stalls.items()
            },
        }
        per_image = program.per_image(
            {"estimated_cycles": layer.cycles, "bytes": moved}
            for layer, moved in zip(estimate.layers, layer_bytes(program), strict=True)
        )
        for name, values in layers.items():
            values |= {field: round(value) for field, value in per_image[name].items()}
    macs = sum(layer.macs for layer in program.layers) / batch
    return {
        "kind": "simulate",
        "images": sum(len(next(iter(result.outputs.values()))) for result in results),
        "batch": batch,
        "mismatches": mismatches,
        "first_mismatch": mismatch,
        "cycles_per_image": cycles,
        "stalls": {
            name: float(np.mean([result.stalls[name] for result in results])) / batch
            for name in (cause.name.lower() for cause in Stall)
            if results
        },
        **estimates,
        "clock_mhz": program.config.clock_mhz,
        "macs_per_cycle": rate,
        "utilization": macs / (cycles * rate) if cycles else 0.0,
        "layers": list(layers.values()),
    }
