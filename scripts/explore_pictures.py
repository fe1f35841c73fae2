"""Pictures of a search for configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from plotly import graph_objects as go

from hw.explore.results import ExplorationResult
from nbqnn_train.pages import LEGEND, Section, html_table

__all__ = ["explore_sections"]

_COLUMNS = {
    "name": "",
    "lanes": "d",
    "filters": "d",
    "pixels": "d",
    "post_lanes": "d",
    "post_positions": "d",
    "act_depth": ",d",
    "weight_depth": ",d",
    "param_depth": ",d",
    "axi_ports": "d",
    "cycles": ",d",
    "latency_ms": ",.3f",
    "images_per_second": ",.1f",
    "gops": ",.0f",
    "utilization": ".1%",
    "lut": ",d",
    "bram36": ",.1f",
    "dsp": ",d",
    "common_front": "",
}
_CIRCUIT_COLUMNS = {
    "interval": "d",
    "cycles": ",d",
    "latency_ms": ",.6f",
    "images_per_second": ",.0f",
    "lut": ",d",
    "common_front": "",
}


def explore_sections(result: ExplorationResult) -> list[Section]:
    """Pictures and the table of a search."""
    rows = [asdict(candidate) | asdict(candidate.config) for candidate in result.candidates]
    best = [row for row in rows if row["pareto"]]
    limits = asdict(result.budget)
    circuits = [asdict(circuit) | {"bram36": 0} for circuit in result.circuits]
    return [
        Section(
            "Configurations worth having",
            [
                _scatter(
                    rows, best, circuits, limits, "lut", "images_per_second", "images per second"
                ),
                _scatter(rows, best, circuits, limits, "bram36", "latency_ms", "latency (ms)"),
                html_table(best, _COLUMNS),
                *([html_table(circuits, _CIRCUIT_COLUMNS)] if circuits else []),
            ],
        )
    ]


def _scatter(
    rows: Sequence[Mapping],
    best: Sequence[Mapping],
    circuits: Sequence[Mapping],
    limits: Mapping[str, float],
    x: str,
    y: str,
    y_title: str,
) -> go.Figure:
    x_title = x.upper()
    others = [row for row in rows if not row["pareto"]]
    figure = go.Figure()
    for name, points, marker in (
        ("other", others, {"color": "#bbb", "size": 5}),
        (
            "Pareto front",
            best,
            {
                "color": [row["gops"] for row in best],
                "colorscale": "Viridis",
                "colorbar": {"title": "GOP/s"},
                "size": 9,
            },
        ),
    ):
        figure.add_scatter(
            x=[row[x] for row in points],
            y=[row[y] for row in points],
            mode="markers",
            name=name,
            marker=marker,
            text=[
                f"{row['name']}<br>{row['gops']:,.0f} GOP/s, {row['latency_ms']:.3f} ms<br>"
                f"{row['lut']:,} LUT, {row['bram36']:g} BRAM36, {row['dsp']} DSP"
                for row in points
            ],
            hoverinfo="text",
        )
    if circuits:
        figure.add_scatter(
            x=[row[x] for row in circuits],
            y=[row[y] for row in circuits],
            mode="markers",
            name="as a circuit",
            marker={
                "color": ["#c33" if row["common_front"] else "#ecc" for row in circuits],
                "size": 11,
                "symbol": "diamond",
            },
            text=[
                f"circuit, {row['interval']} cycles a position<br>{row['latency_ms']:.4f} ms, "
                f"{row['images_per_second']:,.0f} images/s<br>{row['lut']:,} LUT"
                for row in circuits
            ],
            hoverinfo="text",
        )
    if x in limits:
        figure.add_vline(limits[x], line_dash="dash", annotation_text=f"limit {limits[x]:,}")
    figure.update_xaxes(title_text=x_title, rangemode="tozero")
    figure.update_yaxes(title_text=y_title, type="log")
    return figure.update_layout(title=f"{y_title} over {x_title}", height=520, legend=LEGEND)
