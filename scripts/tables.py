"""Results as tables for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # for types only: showing a table should not load what makes results
    from hw.explore.results import ExplorationResult
    from hw.model.estimate import ProgramEstimate
    from hw.synth.power import PowerEstimate
    from hw.synth.results import SynthResult
    from hw.synth.timing import TimingEstimate
    from scripts.demo_result import DemoResult
    from sim.results import SimulationResult

__all__ = [
    "area_table",
    "circuits_table",
    "demo_tables",
    "estimate_table",
    "front_table",
    "layer_table",
    "plain_table",
    "power_table",
    "stall_line",
    "timing_table",
]

#: Field of a result -> heading.
_RESOURCES = {"lut": "LUT", "ff": "FF", "bram36": "BRAM36", "dsp": "DSP"}


def layer_table(result: SimulationResult) -> Table:
    """Cycles of each layer in a simulation."""
    estimated = result.estimated_cycles is not None
    columns = ["layer", "cycles", *(["estimate"] if estimated else []), "MACs", "utilization"]
    table = plain_table(*columns, title="Cycles per image, by layer")
    for layer in result.layers:
        table.add_row(
            layer.name,
            f"{layer.cycles:,.0f}",
            *([f"{layer.estimated_cycles:,}"] if estimated else []),
            f"{layer.macs:,}",
            f"{layer.utilization:.1%}",
        )
    return table


def estimate_table(result: ProgramEstimate) -> Table:
    """Cycles of each layer by the cycle model."""
    counts = ("cycles", "array", "stall", "load", "store")
    title = "Estimated cycles per image, by layer: in all, steps of the array, its standing still, "
    table = plain_table("layer", *counts, "busy", title=f"{title}transfers under way")
    for layer in result.layers:
        table.add_row(
            layer.name,
            *(f"{getattr(layer, count):,}" for count in counts),
            f"{layer.utilization:.1%}",
        )
    return table


def stall_line(stalls: Mapping[str, float]) -> str:
    """Stalls of the array, in cycles per image."""
    causes = ", ".join(f"{cause} {cycles:,.0f}" for cause, cycles in stalls.items())
    return f"the array stands still for {sum(stalls.values()):,.0f} cycles: {causes}"


def area_table(results: Sequence[SynthResult], names: Sequence[str] = ("accelerator",)) -> Table:
    """The area of each accelerator and of its array, from results of ``synth``."""
    board, tool = results[0].board, results[0].tool
    title = f"Area, by {tool}"
    table = plain_table("", "in all", f"of {board}", "array", "per lane", title=title)
    for result, name in zip(results, names, strict=True):
        array = result.array
        table.add_row(Text(f"{name}, {array.lanes:,} lanes", style="bold"))
        for resource, heading in _RESOURCES.items():
            table.add_row(
                f"  {heading}",
                f"{getattr(result, resource):,}",
                f"{result.share[resource]:.1f} %",
                f"{getattr(array, resource):,}",
                f"{getattr(array, resource) / array.lanes:.2f}",
            )
    return table


def power_table(power: PowerEstimate, clock_mhz: int) -> Table:
    """Estimated power by component."""
    table = plain_table("", "W", title=f"Power, estimated from counts, at {clock_mhz} MHz")
    for part, watts in power.parts.items():
        table.add_row(part, f"{watts:.2f}")
    table.add_row(
        Text("fabric", style="bold"), f"{power.fabric:.1f} ({power.low:.1f} to {power.high:.1f})"
    )
    table.add_row("fabric at rest", f"{power.static:.2f}")
    table.add_row("processors", f"{power.processors:.2f}")
    table.add_row(Text("chip", style="bold"), f"about {power.chip:.0f}")
    return table


def timing_table(timing: TimingEstimate) -> Table:
    """The slowest path of each component, estimated."""
    table = plain_table(
        *("component and path", "ns", "in cells", "levels", "fan-out"),
        title=f"Period, estimated: {timing.period_ns:.2f} ns ({timing.low_ns:.2f} to "
        f"{timing.high_ns:.2f}), {timing.mhz:.0f} MHz ({timing.low_mhz:.0f} to "
        f"{timing.high_mhz:.0f}); the slowest paths by component",
    )
    for path in timing.paths:
        table.add_row(
            Text(f"{path.component}\n  {path.start}\n  {path.end}"),
            f"{path.period_ns:.2f}",
            f"{path.logic_ns:.2f}",
            f"{path.levels}",
            f"{path.fanout:,}",
        )
    if timing.loops or timing.unknown:
        table.caption = (
            f"left out: {timing.loops} nets in or behind loops without a register, paths through "
            f"{timing.unknown} cells of unknown delay"
        )
    return table


def front_table(result: ExplorationResult) -> Table:
    """The configurations worth having."""
    table = plain_table(
        *("array", "words", "drain", "images/s", "ms", "busy", "LUT", "BRAM36"),
        title=f"Configurations worth having on {result.board} (lanes×filters×pixels, words of "
        "activations + weights, channels×positions written in a cycle)",
    )
    for candidate in result.candidates:
        if not candidate.pareto:
            continue
        config = candidate.config
        table.add_row(
            f"{config.lanes}×{config.filters}×{config.pixels}",
            f"{_short(config.act_depth)}+{_short(config.weight_depth)}",
            f"{config.post_lanes}×{config.post_positions}",
            f"{candidate.images_per_second:,.1f}",
            f"{candidate.latency_ms:,.2f}",
            f"{candidate.utilization:.0%}",
            f"{candidate.lut:,}",
            f"{candidate.bram36:g}",
        )
    return table


def circuits_table(result: ExplorationResult) -> Table:
    """The network as a circuit, beside the configurations worth having."""
    left = sum(one.pareto and one.common_front for one in result.candidates)
    count = sum(one.pareto for one in result.candidates)
    table = plain_table(
        *("--ii", "cycles", "images/s", "first result (µs)", "LUT", "worth having"),
        title=f"As a circuit (generate --spatial), area estimated; beside it {left} of {count} "
        "configurations are worth having",
    )
    for circuit in result.circuits:
        table.add_row(
            f"{circuit.interval}",
            f"{circuit.cycles:,}",
            f"{circuit.images_per_second:,.0f}",
            f"{1e3 * circuit.latency_ms:,.3f}",
            f"{circuit.lut:,}",
            "yes" if circuit.common_front else "no",
        )
    return table


def _short(depth: int) -> str:
    return f"{depth >> 10}k" if depth >= 1024 else str(depth)


def demo_tables(summary: DemoResult) -> list[Table]:
    """The demo's results: figures, layers, area."""
    network, simulated = summary.network, summary.simulate
    table = plain_table("", "", title="nbqnn demo: 8×8 digits", header=False)
    rows = {
        "weights, activations": f"{network['bits']} bit, {network['act_bits']} bit",
        "test accuracy, PyTorch": f"{summary.train.accuracy:.2%}",
        "test accuracy, integer graph": f"{summary.evaluate.accuracy:.2%}",
        "images run on the accelerator": f"{simulated.images:,}",
        "of these, unlike the integer graph": f"{simulated.mismatches:,}",
        "cycles per image": f"{simulated.cycles_per_image:,.0f}",
        f"images per second at {summary.clock_mhz} MHz": (f"{summary.images_per_second:,.0f}"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    synths = summary.synth
    seconds = plain_table("stage", "seconds", title="Time taken")
    for stage, duration in summary.seconds.items():
        seconds.add_row(stage, f"{duration:.1f}")
    return [
        layer_table(simulated),
        area_table(list(synths.values()), [f'pe = "{pe}"' for pe in synths]),
        seconds,
        table,
    ]


def plain_table(*columns: str, title: str, header: bool = True) -> Table:
    """An empty table. Long names are broken, numbers are not."""
    table = Table(title=title, title_justify="left", show_header=header)
    first, *others = columns
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table
