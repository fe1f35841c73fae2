"""What happened in a training, drawn."""

import csv
from collections.abc import Mapping
from pathlib import Path

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from nbqnn_train.learn.histograms import bin_centers

__all__ = [
    "error_figure",
    "histogram_figure",
    "learning_figure",
    "read_metrics",
]

#: Rows of the learning curves, from the top, and what each of them shows.
_CURVES = ("loss", "accuracy", "lambda", "lr")


def read_metrics(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every quantity in the CSV logs of a run, by name.

    A training that was resumed has several logs. Where they overlap, the later one counts.
    """
    curves: dict[str, dict[int, float]] = {}
    files = sorted(folder.glob("version_*/metrics.csv"), key=lambda f: int(f.parent.name[8:]))
    for file in files:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        first = min((int(row["step"]) for row in rows), default=0)
        for curve in curves.values():
            for step in [step for step in curve if step >= first]:
                del curve[step]
        for row in rows:
            for name, text in row.items():
                if name not in ("epoch", "step") and text:
                    curves.setdefault(name, {})[int(row["step"])] = float(text)
    return {name: sorted(curve.items()) for name, curve in curves.items()}


def learning_figure(metrics: Mapping[str, list[tuple[int, float]]]) -> go.Figure:
    """Loss, accuracy after each epoch, λ and learning rate over the steps."""
    shown = [name for name in _CURVES if metrics.get(name)]
    figure = make_subplots(rows=len(shown), cols=1, shared_xaxes=True, vertical_spacing=0.04)
    for row, name in enumerate(shown, 1):
        steps, values = zip(*metrics[name], strict=True)
        mode = "lines+markers" if name == "accuracy" else "lines"
        figure.add_scatter(x=steps, y=values, name=name, mode=mode, row=row, col=1)
        figure.update_yaxes(title_text=name, row=row, col=1)
    if "loss" in shown:
        figure.update_yaxes(type="log", row=1, col=1)
    if "accuracy" in shown:
        figure.update_yaxes(tickformat=".1%", row=shown.index("accuracy") + 1, col=1)
    figure.update_xaxes(title_text="step", row=len(shown), col=1)
    return figure.update_layout(
        title="Learning curves", showlegend=False, height=160 + 160 * len(shown)
    )


def histogram_figure(moments: list[dict], bits: Mapping[str, int]) -> go.Figure:
    """The share of each layer's weights along the staircase, epoch by epoch; a menu of layers.

    ``moments`` are those of :class:`~nbqnn_train.learn.histograms.WeightHistograms`, ``bits`` the
    widths of the layers' weights.
    """
    figure = go.Figure()
    labels = [f"{moment['epoch']} (λ {moment['lambda']:.3f})" for moment in moments]
    for number, (name, width) in enumerate(bits.items()):
        centers = bin_centers(width)
        rows = [moment["layers"][name] for moment in moments]
        shares = [[round(count / sum(row), 6) for count in row] for row in rows]
        columns = [list(column) for column in zip(*shares, strict=True)]
        figure.add_heatmap(
            x=labels,
            y=centers,
            z=columns,
            name=name,
            visible=number == 0,
            colorscale="Blues",
            # Late in a training nearly all weights share a few positions: the rest would be white.
            zmax=0.25,
            zmin=0,
            hovertemplate="epoch %{x}<br>position %{y}<br>share %{z:.2%}",
        )
    levels = range(-_reach(bits), _reach(bits) + 1)
    buttons = [
        {
            "label": name,
            "method": "update",
            "args": [{"visible": [other == name for other in bits]}],
        }
        for name in bits
    ]
    figure.update_yaxes(
        title_text="weight in steps",
        tickvals=list(levels),
        ticktext=[_level(level) for level in levels],
    )
    figure.update_xaxes(title_text="after epoch", type="category")
    return figure.update_layout(
        title="Weights on their way to the staircase",
        updatemenus=[{"buttons": buttons, "x": 1, "y": 1.15}],
        height=600,
    )


def _reach(bits: Mapping[str, int]) -> int:
    return int(max(bin_centers(width)[-1] for width in bits.values())) - 1


def _level(position: int) -> str:
    if position == 0:
        return "0"
    sign, log2 = "−" if position < 0 else "", abs(position) - 1
    return f"{sign}{1 << log2}" if log2 < 10 else f"{sign}2^{log2}"


def error_figure(
    activations: Mapping[str, float | None], weights: Mapping[str, float | None]
) -> go.Figure:
    """``|quantized - real| / |real|`` of each layer's activations and weights, by its name."""
    figure = go.Figure()
    for name, errors in (("activations", activations), ("weights", weights)):
        # A layer's activation is a node of its own in the graph.
        layers = [node.removesuffix(".out") for node in errors]
        figure.add_bar(x=layers, y=list(errors.values()), name=name)
    figure.update_yaxes(title_text="relative error", tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure.update_layout(title="Error of each layer against full precision", height=500)
