"""Sections on configurations, areas, cycles and searches."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from plotly import graph_objects as go

from hw.contract.config import AcceleratorConfig
from hw.model.estimate import LayerCost, ProgramEstimate
from hw.synth.results import SynthResult
from nbqnn_train.pages import LEGEND, Section, html_table
from sim.results import LayerResult, SimulationResult

__all__ = ["build_section", "compile_section", "simulate_section", "synth_section"]

_RESOURCES = ("lut", "ff", "bram36", "dsp")
_TOP = "nbqnn"
#: Names of modules of the array.
_INSIDE_ARRAY = tuple(
    f"nbqnn_{part}_"
    for part in (
        *("pe_array", "array_section", "svpe", "vpe"),
        *("lane_product", "sum", "accumulation"),
    )
)


def build_section(name: str, config: AcceleratorConfig) -> Section:
    """The fields of a configuration."""
    rows = [{"field": field, "value": value} for field, value in asdict(config).items()]
    rows.append({"field": "multiplies a cycle", "value": config.multiplies_per_cycle})
    return Section("Configuration", [html_table(rows, {"field": "", "value": ""})], name)


def synth_section(name: str, result: SynthResult) -> Section:
    """The share of the board that is used, and the modules that use the LUTs."""
    rows = [
        {
            "resource": resource.upper(),
            "in all": getattr(result, resource),
            "share": result.share[resource] / 100,
            "array": getattr(result.array, resource),
        }
        for resource in _RESOURCES
    ]
    columns = {"resource": "", "in all": ",.10g", "share": ".1%", "array": ",.10g"}
    title = f"Area of a {result.board}, by {result.tool}"
    return Section(title, [html_table(rows, columns), _tables_picture(result)], name)


def _tables_picture(result: SynthResult) -> go.Figure:
    """LUTs of the array, of modules that were mapped separately, and of the rest."""
    parts = {"array": result.array.lut}
    for name, module in (result.modules or {}).items():
        count = module.instances
        if module.lut and name != _TOP and not name.startswith(_INSIDE_ARRAY):
            parts[f"{name} × {count}" if count > 1 else name] = module.lut * count
    rest = result.lut - sum(parts.values())
    if rest < 0:
        # Some modules are inside others. The result does not say which.
        parts = {"array": result.array.lut}
        rest = result.lut - result.array.lut
    parts["rest"] = rest
    names = [_readable(name) for name in parts]
    figure = go.Figure(
        go.Treemap(
            labels=names,
            parents=[""] * len(parts),
            values=list(parts.values()),
            text=list(parts),
            texttemplate="%{label}<br>%{value:,} LUT, %{percentRoot:.1%}",
            hovertemplate="%{text}<br>%{value:,} LUT<extra></extra>",
        )
    )
    return figure.update_layout(title="Where the LUTs go", height=420, margin={"t": 60, "b": 20})


def _readable(name: str) -> str:
    """A module's name without its parameters: "requantizer × 16"."""
    module, times, count = name.removeprefix("nbqnn_").partition(" × ")
    words = []
    for word in module.split("_"):
        if any(letter.isdigit() for letter in word) or word in ("shift", "multiply", "scale"):
            break
        words.append(word)
    # The text before a number is the name of a parameter.
    if len(words) > 1 and len(words) < len(module.split("_")) and words[-1] in ("bits", "width"):
        words = words[:-2]
    return " ".join(words) + times + count


def simulate_section(name: str, result: SimulationResult) -> Section:
    """Cycles and utilization of each layer, and a roofline."""
    layers = [asdict(layer) for layer in result.layers]
    columns = {"name": "", "cycles": ",.0f", "macs": ",d", "utilization": ".1%"}
    if result.estimated_cycles is not None:
        columns |= {"estimated_cycles": ",.0f", "bytes": ",d"}
    cycles = result.cycles_per_image
    text = (
        f"<p>{result.images} images, {result.mismatches} unlike the interpreter; "
        f"{cycles:,.0f} cycles per image"
    )
    if cycles:
        speed = 1e6 * result.clock_mhz / cycles
        text += f", {speed:,.1f} images a second at {result.clock_mhz} MHz"
    parts = [f"{text}.</p>", _cycles_picture(layers, "RTL"), *_roofline(result)]
    return Section("Simulation", [*parts, html_table(layers, columns)], name)


def compile_section(name: str, result: ProgramEstimate) -> Section:
    """The cycles of a program by the cycle model."""
    layers = [asdict(layer) for layer in result.layers]
    counts = ("cycles", "array", "stall", "load", "store", "bytes", "macs")
    columns = {"name": "", **dict.fromkeys(counts, ",d"), "utilization": ".1%"}
    text = (
        f"<p>{result.cycles_per_image:,.0f} cycles per image by the cycle model, "
        f"{result.images_per_second:,.1f} images a second at {result.clock_mhz} MHz; "
        f"{result.read_bytes:,} bytes read and {result.written_bytes:,} written.</p>"
    )
    parts = [text, *_schedule(result), _cycles_picture(layers, "model"), *_roofline(result)]
    return Section("Schedule", [*parts, html_table(layers, columns)], name)


def _schedule(result: ProgramEstimate) -> list[go.Figure]:
    """When each engine works for each layer, by the cycle model; empty for a batch."""
    layers = [layer for layer in result.layers if layer.windows]
    if not layers:
        return []
    figure = go.Figure()
    for engine in ("load", "compute", "store"):
        rows = [layer for layer in layers if engine in layer.windows]
        figure.add_bar(
            y=[layer.name for layer in rows],
            x=[layer.windows[engine][1] - layer.windows[engine][0] for layer in rows],
            base=[layer.windows[engine][0] for layer in rows],
            orientation="h",
            name=engine,
        )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text="cycles from the start")
    height = 160 + 26 * len(layers)
    return [figure.update_layout(title="Schedule (model)", height=height, legend=LEGEND)]


def _cycles_picture(layers: Sequence[Mapping], source: str) -> go.Figure:
    figure = go.Figure()
    names = [layer["name"] for layer in layers]
    figure.add_bar(x=names, y=[layer["cycles"] for layer in layers], name=f"cycles ({source})")
    if any(layer.get("estimated_cycles") is not None for layer in layers):
        estimates = [layer.get("estimated_cycles") for layer in layers]
        figure.add_bar(x=names, y=estimates, name="cycles (model)")
    figure.add_scatter(
        x=names,
        y=[layer["utilization"] for layer in layers],
        name="utilization",
        yaxis="y2",
        mode="markers",
    )
    return figure.update_layout(
        title="Cycles of each layer",
        height=450,
        xaxis={"type": "category"},
        yaxis={"title": "cycles"},
        yaxis2={
            "title": "utilization",
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.05],
            "dtick": 0.25,
            "tickmode": "linear",
            "tickformat": ".0%",
            "showgrid": False,
        },
        legend=LEGEND,
    )


def _operating_point(layer: LayerResult | LayerCost) -> tuple[float, float] | None:
    """Operations per byte and per cycle; None for a layer that moves or computes nothing.

    Bytes per cycle are those of the cycle model, also where the cycles are the RTL's.
    """
    cycles = getattr(layer, "estimated_cycles", None) or layer.cycles
    if not (layer.moved and layer.macs and layer.cycles):
        return None
    speed = 2 * layer.macs / layer.cycles
    return speed / (layer.moved / cycles), speed


def _roofline(result: SimulationResult | ProgramEstimate) -> list[go.Figure]:
    """Operations per second over operations per byte, with the limits of array and memory.

    A layer's bytes are those that move while it runs, whichever layer they are for. Empty for a
    result that lacks the figures.
    """
    rate, width, clock = result.macs_per_cycle, result.bytes_per_cycle, result.clock_mhz
    points = [
        (layer.name, *point)
        for layer in result.layers
        if (point := _operating_point(layer)) is not None
    ]
    if not (rate and width and clock and points):
        return []
    scale = clock * 1e-3  # operations per cycle -> GOP/s
    peak, knee = 2 * rate * scale, 2 * rate / width
    low = min(knee, *(point[1] for point in points)) / 2
    high = 2 * max(knee, *(point[1] for point in points))
    figure = go.Figure()
    figure.add_scatter(
        x=[low, knee, high],
        y=[low * width * scale, peak, peak],
        mode="lines",
        name=f"array {peak:,.0f} GOP/s, memory {width * scale:,.1f} GB/s",
    )
    names, intensities, speeds = zip(*points, strict=True)
    figure.add_scatter(
        x=intensities,
        y=[speed * scale for speed in speeds],
        mode="markers",
        name="layers",
        text=names,
        hovertemplate="%{text}<br>%{x:.1f} operations a byte, %{y:.1f} GOP/s",
    )
    figure.update_xaxes(type="log", title_text="operations for each byte moved")
    figure.update_yaxes(type="log", title_text="GOP/s")
    return [figure.update_layout(title="Roofline", height=480, legend=LEGEND)]
