"""Sections on cycles: which engine works when for which layer, and how far from the limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from plotly import graph_objects as go

from hw.model.estimate import LayerCost, ProgramEstimate
from nbqnn_train.pages import LEGEND, Section, html_table
from sim.results import LayerResult, SimulationResult

__all__ = ["compile_section", "simulate_section"]

#: Engine -> its colour on the RTL and by the model.
_ENGINES = {
    "load": ("#2166ac", "#92b9dc"),
    "compute": ("#1b7837", "#96c9a6"),
    "store": ("#b35806", "#e8b98a"),
}

#: Layer -> engine -> begin and end of its work, for each time that the layer runs.
_Windows = Mapping[str, Mapping[str, tuple[int, ...]]]


def simulate_section(name: str, result: SimulationResult) -> Section:
    """What the engines did for each layer on the RTL, beside the model, and a roofline."""
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
    parts = [
        f"{text}.{_stalls(result.stalls, cycles)}</p>",
        *_schedule(
            _windows(result.layers, "windows"), _windows(result.layers, "estimated_windows")
        ),
        _cycles_picture(layers, "RTL"),
        *_roofline(result),
        html_table(layers, columns),
    ]
    return Section("Schedule on the RTL", parts, name)


def compile_section(name: str, result: ProgramEstimate, simulated: bool = False) -> Section:
    """The cycles of a program by the cycle model.

    Where the program was ``simulated`` too, the pictures are in that section.
    """
    layers = [asdict(layer) for layer in result.layers]
    counts = ("cycles", "array", "stall", "load", "store", "bytes", "macs")
    columns = {"name": "", **dict.fromkeys(counts, ",d"), "utilization": ".1%"}
    text = (
        f"<p>{result.cycles_per_image:,.0f} cycles per image by the cycle model, "
        f"{result.images_per_second:,.1f} images a second at {result.clock_mhz} MHz; "
        f"{result.read_bytes:,} bytes read and {result.written_bytes:,} written."
        f"{_stalls(result.stalls, result.cycles_per_image)}</p>"
    )
    pictures = []
    if not simulated:
        windows = _windows(result.layers, "windows")
        pictures = [*_schedule({}, windows), _cycles_picture(layers, "model"), *_roofline(result)]
    table = html_table(layers, columns)
    return Section("Schedule by the cycle model", [text, *pictures, table], name)


def _stalls(stalls: Mapping[str, float], cycles: float) -> str:
    """How long the array stands still, with the causes that count, the largest first."""
    causes = sorted(stalls.items(), key=lambda one: -one[1])
    causes = [f"{cause} {taken / cycles:.1%}" for cause, taken in causes if taken > cycles / 1000]
    if not (cycles and causes):
        return ""
    return f" The array stands still in {sum(stalls.values()) / cycles:.1%} of them: " + (
        f"{', '.join(causes)}."
    )


def _windows(layers: Iterable[LayerResult | LayerCost], field: str) -> _Windows:
    return {layer.name: windows for layer in layers if (windows := getattr(layer, field))}


def _schedule(measured: _Windows, estimated: _Windows) -> list[go.Figure]:
    """When each engine works for each layer: on the RTL, and thinner by the model."""
    if not (measured or estimated):
        return []
    figure = go.Figure()
    both = bool(measured and estimated)
    for windows, source, shade, place, width in (
        (measured, "RTL", 0, -0.42, 0.5 if both else 0.8),
        (estimated, "model", int(both), 0.12 if both else -0.42, 0.26 if both else 0.8),
    ):
        for engine, colours in _ENGINES.items():
            rows = [
                (name, begin, end)
                for name, one in windows.items()
                for begin, end in zip(
                    one.get(engine, ())[::2], one.get(engine, ())[1::2], strict=True
                )
            ]
            figure.add_bar(
                y=[name for name, _, _ in rows],
                x=[end - begin for _, begin, end in rows],
                base=[begin for _, begin, _ in rows],
                customdata=[row[1:] for row in rows],
                hovertemplate=f"%{{y}}: {engine}, {source}<br>cycles %{{customdata[0]:,}} to "
                "%{customdata[1]:,}<extra></extra>",
                orientation="h",
                offset=place,
                width=width,
                marker_color=colours[shade],
                name=f"{engine} ({source})",
                visible=bool(rows),
            )
    names = list(measured or estimated)
    figure.update_yaxes(
        autorange="reversed", type="category", categoryorder="array", categoryarray=names
    )
    figure.update_xaxes(title_text="cycles from the start")
    title = "When the engines work" + ("" if measured else ", by the model")
    height = 190 + 26 * len(names)
    figure.update_layout(title=title, height=height, legend=LEGEND, barmode="overlay")
    return [figure]


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
