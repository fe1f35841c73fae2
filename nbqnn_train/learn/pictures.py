"""What happened in a training, drawn."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from nbqnn_train.learn.results import WHOLE, TrainingCourse
from nbqnn_train.pages import LEGEND, Section, html_table

__all__ = [
    "course_sections",
    "error_figure",
    "histogram_figure",
    "learning_figure",
    "read_metrics",
]

#: Rows of the learning curves, from the top, and what each of them shows.
_CURVES = ("loss", "accuracy", "lambda", "lr")
#: Layers and moments that are drawn on the staircase: a page has some 50 kB for them.
_MOST_LAYERS = 8
_MOST_MOMENTS = 30


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


def course_sections(course: TrainingCourse) -> list[Section]:
    """Weights on their way to the staircase, and what quantization did to each layer."""
    sections = []
    if course.epochs and course.layers:
        sections.append(Section("Weights in training", [histogram_figure(course)]))
    weights = {layer.name: layer.weight_error for layer in course.layers}
    rows = [
        {"layer": name, "bits": bits, "weights": _decibels(own), "activation": _decibels(error)}
        for name, bits, own, error in (
            (layer.name, layer.bits, layer.weight_error, layer.error) for layer in course.layers
        )
    ]
    columns = {"layer": "", "bits": "d", "weights": ".1f", "activation": ".1f"}
    text = (
        f"<p>Signal to noise in dB, against full precision: of each layer's weights, and of its "
        f"activation over {course.images:,} training images.</p>"
    )
    parts = [error_figure(course.errors, weights), text, html_table(rows, columns)]
    return [*sections, Section("Quantization", parts)]


def _decibels(error: float | None) -> float | None:
    """The signal to noise ratio of a relative error."""
    return None if not error else -20 * math.log10(error)


def histogram_figure(course: TrainingCourse) -> go.Figure:
    """The share of a layer's weights along the staircase, epoch by epoch; a menu of layers.

    Of many layers and moments some are shown, the first and the last among them.
    """
    layers = _spread(course.layers, _MOST_LAYERS)
    moments = _spread(range(len(course.epochs)), _MOST_MOMENTS)
    figure = go.Figure()
    labels = [f"{course.epochs[moment]} (λ {course.blends[moment]:.3f})" for moment in moments]
    for number, layer in enumerate(layers):
        shares = layer.shares[moments].T
        figure.add_heatmap(
            x=labels,
            y=layer.positions,
            z=np.round(WHOLE * shares).astype(np.uint16),
            name=layer.name,
            visible=number == 0,
            colorscale="Blues",
            # Late in a training nearly all weights share a few positions: the rest would be white.
            zmax=WHOLE / 4,
            zmin=0,
            colorbar={
                "title": "share",
                "tickvals": [share * WHOLE / 100 for share in (0, 5, 10, 15, 20, 25)],
                "ticktext": ["0 %", "5 %", "10 %", "15 %", "20 %", "25 %"],
            },
            hovertemplate="after epoch %{x}<br>position %{y}<extra></extra>",
        )
    reach = max(int(layer.positions[-1]) - 1 for layer in layers)
    levels = range(-reach, reach + 1)
    buttons = [
        {
            "label": layer.name,
            "method": "update",
            "args": [{"visible": [other is layer for other in layers]}],
        }
        for layer in layers
    ]
    figure.update_yaxes(
        title_text="weight in steps",
        tickvals=list(levels),
        ticktext=[_level(level) for level in levels],
    )
    figure.update_xaxes(title_text="after epoch", type="category")
    return figure.update_layout(
        title="Weights on their way to the staircase",
        updatemenus=[{"buttons": buttons, "x": 1, "y": 1.01, "yanchor": "bottom"}],
        height=560,
    )


def _spread(items: Sequence, most: int) -> list:
    """At most so many of the items, evenly spread, the first and the last among them."""
    count = min(len(items), most)
    return [items[round(number * (len(items) - 1) / max(1, count - 1))] for number in range(count)]


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
        figure.add_bar(x=list(errors), y=list(errors.values()), name=name)
    figure.update_yaxes(title_text="relative error", tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure.update_layout(
        title="Error of each layer against full precision", height=450, legend=LEGEND
    )
