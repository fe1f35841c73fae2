"""Runs programs on the Verilated accelerator and compares every code with the interpreter's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hw.compiler import compile_graph
from hw.driver import Driver, RunResult, memory_bytes
from hw.program import Port, Program, load_program
from nbqnn_train.graph import Graph, NbqnnError, run
from sim.bus import VerilatedBus
from sim.verilated import MemoryTiming

__all__ = [
    "checked_images",
    "compare_images",
    "first_difference",
    "open_driver",
    "simulate",
    "simulate_program",
    "summary",
]

#: Images that the interpreter works on together.
_BATCH = 64


def open_driver(
    program: Program, timing: MemoryTiming | None = None, max_cycles: int | None = None
) -> tuple[VerilatedBus, Driver]:
    """A Verilated accelerator with the program loaded; the bus is the caller's to close."""
    size = memory_bytes(program)
    if max_cycles is None:
        # Far above any run that gets on.
        macs = sum(layer.macs for layer in program.layers)
        max_cycles = 200_000 + 8 * macs + 100 * size
    bus = VerilatedBus(program.config, memory_bytes=size, max_cycles=max_cycles, timing=timing)
    return bus, Driver(bus, program)


def simulate(path: Path, x: np.ndarray, progress: Callable[[int, int], None] | None = None) -> dict:
    """:func:`simulate_program` of a program file."""
    return simulate_program(load_program(path), x, progress=progress)


def simulate_program(
    program: Program,
    x: np.ndarray,
    *,
    timing: MemoryTiming | None = None,
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
    progress : callable, optional
        Called with the images done and all images.

    Returns
    -------
    dict
        ``images``, ``mismatches`` (images with a wrong code), ``first_mismatch`` (None, or
        ``image``, ``layer``, ``position``, ``expected``, ``actual``), ``cycles_per_image``,
        ``utilization`` (of the array, over the whole run) and ``layers``, each with ``name``,
        ``cycles``, ``macs`` and ``utilization``; cycles are means over the images.
    """
    # Before the simulator is built, which can take a minute.
    x = checked_images(program, x)
    bus, driver = open_driver(program, timing)
    with bus:
        results, wrong = compare_images(driver, program, x, progress)
    mismatch = None
    if wrong:
        first = wrong[0]
        mismatch = _locate(program, x[first], first, results[first].outputs, timing)
    return summary(program, results, len(wrong), mismatch)


def checked_images(program: Program, x: np.ndarray) -> np.ndarray:
    """``x`` as float32; :exc:`NbqnnError` if the program's network takes other shapes."""
    x = np.asarray(x, np.float32)
    shape = program.graph.input_nodes[0].shape
    if x.shape[1:] != shape:
        raise NbqnnError(f"Images must have shape (N, {', '.join(map(str, shape))}), not {x.shape}")
    return x


def compare_images(
    driver: Driver,
    program: Program,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[RunResult], list[int]]:
    """Runs images; the results, and the numbers of those with a code unlike the interpreter's."""
    results: list[RunResult] = []
    wrong = []
    for start in range(0, len(x), _BATCH):
        batch = x[start : start + _BATCH]
        expected = _expected(program.graph, batch, program.outputs)
        for index, image in enumerate(batch):
            result = driver.run(image)
            results.append(result)
            if any(
                not np.array_equal(result.outputs[name].reshape(-1), codes[index].reshape(-1))
                for name, codes in expected.items()
            ):
                wrong.append(start + index)
            if progress is not None:
                progress(start + index + 1, len(x))
    return results, wrong


def _expected(graph: Graph, batch: np.ndarray, ports: tuple[Port, ...]) -> dict[str, np.ndarray]:
    trace = run(graph, batch, trace=True)
    return {port.name: trace[port.name] for port in ports}


def _locate(
    program: Program, image: np.ndarray, index: int, outputs: dict, timing: MemoryTiming | None
) -> dict:
    """The first layer and position that differ, from one more run with all layers stored.

    The run is with the program's own weights. Where it shows no difference (the program's
    commands may be at fault), the difference is that of ``outputs``.
    """
    traced = compile_graph(program.graph, program.config, traced=True)
    traced = replace(traced, parameters=program.parameters)
    bus, driver = open_driver(traced, timing)
    with bus:
        codes = driver.run(image).traced
    layers = [(layer.name, layer.output) for layer in traced.layers if layer.output in codes]
    candidates = [(name, output, codes[output]) for name, output in layers]
    return first_difference(program, image, index, outputs, candidates)


def first_difference(
    program: Program,
    image: np.ndarray,
    index: int,
    outputs: dict[str, np.ndarray],
    layers: Sequence[tuple[str, str, np.ndarray]] = (),
) -> dict:
    """The first of the layers, given as (name, output, codes), and then outputs, that differs."""
    expected = run(program.graph, image[None], trace=True)
    candidates = [*layers, *((name, name, actual) for name, actual in outputs.items())]
    for name, output, actual in candidates:
        wanted = expected[output].reshape(actual.shape)
        if not np.array_equal(actual, wanted):
            position = tuple(int(i) for i in np.argwhere(actual != wanted)[0])
            return {
                "image": index,
                "layer": name,
                "position": position,
                "expected": int(wanted[position]),
                "actual": int(actual[position]),
            }
    raise AssertionError(f"image {index} differed and no longer does")


def summary(
    program: Program, results: list[RunResult], mismatches: int, mismatch: dict | None
) -> dict:
    """What :func:`simulate_program` returns, from the runs."""
    rate = program.config.multiplies_per_cycle
    cycles = float(np.mean([result.cycles for result in results])) if results else 0.0
    per_layer = np.mean([result.layer_cycles for result in results], axis=0) if results else ()
    layers = [
        {
            "name": layer.name,
            "cycles": float(layer_cycles),
            "macs": layer.macs,
            "utilization": layer.macs / (layer_cycles * rate),
        }
        for layer, layer_cycles in zip(program.layers, per_layer, strict=False)
    ]
    macs = sum(layer.macs for layer in program.layers)
    return {
        "images": len(results),
        "mismatches": mismatches,
        "first_mismatch": mismatch,
        "cycles_per_image": cycles,
        "utilization": macs / (cycles * rate) if cycles else 0.0,
        "layers": layers,
    }
