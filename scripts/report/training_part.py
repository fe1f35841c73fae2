"""Runs, accuracies and graphs on a report's page."""

from collections.abc import Mapping

from plotly.subplots import make_subplots

from nbqnn_train.graph import Graph
from nbqnn_train.graph.summary import summarize
from scripts.pages import Section, html_table

__all__ = ["accuracy_section", "nodes_section", "run_section"]

#: Curves from the top, where a log has them; then whatever else it has.
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
    return Section(f"Training: {name}", [figure])


def accuracy_section(name: str, result: Mapping) -> Section:
    """An accuracy."""
    columns = {"accuracy": ".2%", "images": ",d"}
    return Section(f"Accuracy: {name}", [html_table([result], columns)])


def nodes_section(name: str, content: Graph | Mapping) -> Section:
    """The nodes of a graph, or of the result of ``inspect``."""
    result = summarize(content) if isinstance(content, Graph) else content
    rows = [node | {"shape": "×".join(map(str, node.get("shape", ())))} for node in result["nodes"]]
    macs, size = (sum(row.get(field) or 0 for row in rows) for field in ("macs", "bytes"))
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
    if any("below" in row for row in rows):
        columns |= {"below": ".2%", "above": ".2%"}
    return Section(f"Graph: {name}", [html_table(rows, columns)])
