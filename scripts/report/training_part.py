"""Sections on training runs, accuracies and graphs."""

from collections.abc import Mapping
from dataclasses import asdict

from plotly.subplots import make_subplots

from nbqnn_train.graph import Graph
from nbqnn_train.graph.results import Evaluation
from nbqnn_train.graph.summary import GraphSummary, summarize
from nbqnn_train.pages import Section, html_table

__all__ = ["accuracy_section", "nodes_section", "run_section"]

#: The order of the curves of a log; all others follow.
_FIRST = ("loss", "accuracy", "lambda", "lr")
_MOST_CURVES = 8


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
    figure.update_layout(showlegend=False, height=120 + 150 * len(names))
    return Section("Training", [figure], name)


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
    return Section("Layers", [html_table(rows, columns)], name)
