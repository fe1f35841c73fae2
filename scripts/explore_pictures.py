"""A search for configurations, drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from plotly import graph_objects as go

from hw.explore.results import ExplorationResult
from scripts.pages import LEGEND, Section, html_table

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
}


def explore_sections(result: ExplorationResult) -> list[Section]:
    """Pictures and the table of a search."""
    rows = [asdict(candidate) | asdict(candidate.config) for candidate in result.candidates]
    best = [row for row in rows if row["pareto"]]
    limits = asdict(result.budget)
    return [
        Section(
            "Configurations worth having",
            [
                _scatter(rows, best, limits, "lut", "images_per_second", "images per second"),
                _scatter(rows, best, limits, "bram36", "latency_ms", "latency (ms)"),
                html_table(best, _COLUMNS),
            ],
        )
    ]


def _scatter(
    rows: Sequence[Mapping],
    best: Sequence[Mapping],
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
    if x in limits:
        figure.add_vline(limits[x], line_dash="dash", annotation_text=f"limit {limits[x]:,}")
    figure.update_xaxes(title_text=x_title, rangemode="tozero")
    figure.update_yaxes(title_text=y_title, type="log")
    return figure.update_layout(title=f"{y_title} over {x_title}", height=520, legend=LEGEND)
