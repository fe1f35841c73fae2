"""Sections on training runs, accuracies and graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from nbqnn_train.graph import Graph
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.graph.summary import GraphSummary, NodeSummary, summarize
from nbqnn_train.learn import pictures
from nbqnn_train.learn.results import TrainingCourse
from nbqnn_train.pages import LEGEND, Section, html_table
from scripts.quantize_result import QuantizeResult

__all__ = [
    "accuracy_section",
    "course_sections",
    "nodes_section",
    "quantize_section",
    "run_section",
]

#: The order of the curves of a log; all others follow.
_FIRST = ("loss", "accuracy", "lambda", "lr")
_MOST_CURVES = 8
#: Of red, green and blue, the lightest and the darkest.
_SHADES = ((225, 8), (233, 48), (242, 107))


def run_section(name: str, curves: Mapping[str, list[tuple[int, float]]]) -> Section:
    """Learning curves."""
    names = [curve for curve in _FIRST if curve in curves]
    names += sorted(set(curves) - set(names))
    names = names[:_MOST_CURVES]
    figure = make_subplots(rows=len(names), cols=1, shared_xaxes=True, vertical_spacing=0.04)
    for row, curve in enumerate(names, 1):
        steps, values = zip(*curves[curve], strict=True)
        mode = "lines+markers" if len(steps) < 50 else "lines"
        figure.add_scatter(x=steps, y=values, name=curve, mode=mode, row=row, col=1)
        figure.update_yaxes(title_text=curve, row=row, col=1)
    figure.update_xaxes(title_text="step", row=len(names), col=1)
    figure.update_layout(title="Learning curves", showlegend=False, height=120 + 150 * len(names))
    return Section("Training", [figure], name)


def course_sections(name: str, course: TrainingCourse) -> list[Section]:
    """Where weights were in the training, and the errors of the layers."""
    return [replace(section, note=name) for section in pictures.course_sections(course)]


def accuracy_section(results: Mapping[str, Evaluation]) -> Section:
    """Accuracies by their files' names, and how the networks were trained; equal ones once."""
    rows: dict[tuple, dict] = {}
    for name, result in results.items():
        row = rows.setdefault((result.accuracy, result.images), {"file": name})
        row |= asdict(result)
    columns = {"file": "", "accuracy": ".2%", "images": ",d"}
    if any("model" in row for row in rows.values()):
        columns |= {"model": "", "data": "", "epochs": "d", "seed": "d", "seconds": ",.0f"}
    return Section("Accuracy", [html_table(rows.values(), columns)])


def quantize_section(name: str, result: QuantizeResult) -> Section:
    """How near a network that was quantized without training is to full precision."""
    row = asdict(result) | {"file": name}
    columns = {
        "file": "",
        "accuracy": ".2%",
        "float_accuracy": ".2%",
        "test_images": ",d",
        "agreement": ".2%",
        "images": ",d",
        "weight_bytes": ",d",
    }
    shown = {key: form for key, form in columns.items() if row[key] is not None}
    return Section("Quantized without training", [html_table([row], shown)])


def nodes_section(name: str, content: Graph | GraphSummary) -> Section:
    """The nodes of a graph, or of the result of ``inspect``."""
    nodes = (summarize(content) if isinstance(content, Graph) else content).nodes
    rows = [asdict(node) | {"shape": "×".join(map(str, node.shape))} for node in nodes]
    macs, size = sum(node.macs for node in nodes), sum(node.bytes for node in nodes)
    rows.append({"name": "in all", "macs": macs, "bytes": size})
    columns = {
        "name": "",
        "op": "",
        "shape": "",
        "bits": "d",
        "weight_bits": "d",
        "acc_bits": "d",
        "zeros": ".0%",
        "macs": ",d",
        "bytes": ",d",
    }
    if any(node.below is not None for node in nodes):
        columns |= {"below": ".2%", "above": ".2%"}
    return Section("Layers", [html_table(rows, columns), *_codes_picture(nodes)], name)


def _codes_picture(nodes: Sequence[NodeSummary]) -> list[go.Figure]:
    """The share of 0, ±1, ±2 and so on among each layer's weights; empty without weights."""
    layers = [node for node in nodes if node.weights]
    levels = sorted({abs(weight) for node in layers for weight in node.weights})
    figure = go.Figure()
    for number, level in enumerate(levels):
        shares = [
            sum(count for weight, count in node.weights.items() if abs(weight) == level)
            / sum(node.weights.values())
            for node in layers
        ]
        # From light to dark with the magnitude.
        shade = number / max(1, len(levels) - 1)
        colour = [round(light + shade * (dark - light)) for light, dark in _SHADES]
        figure.add_bar(
            y=[node.name for node in layers],
            x=[round(share, 4) for share in shares],
            name=f"±{level:,}" if level else "0",
            orientation="h",
            marker_color=f"rgb({','.join(map(str, colour))})",
            hovertemplate="%{y}: %{x:.1%}",
        )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_layout(
        title="Which weights there are",
        barmode="stack",
        height=170 + 26 * len(layers),
        legend=LEGEND | {"traceorder": "normal"},
    )
    return [figure] if layers else []
