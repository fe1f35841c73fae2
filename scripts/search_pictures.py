"""Pictures of a search for widths."""

from plotly import graph_objects as go

from nbqnn_train.pages import Section, html_table
from scripts.search_result import SearchResult

__all__ = ["search_sections"]

_COLUMNS = {"name": "", "bytes": ",d", "agreement": ".2%", "accuracy": ".2%", "beaten": ""}


def search_sections(result: SearchResult) -> list[Section]:
    """The networks, and how much each layer suffers from its width."""
    rows = [
        {
            "name": one.name,
            "bytes": one.weight_bytes,
            "agreement": one.agreement,
            **({} if one.accuracy is None else {"accuracy": one.accuracy}),
            "beaten": ", ".join(other.name for other in result.points if other.beats(one)),
        }
        for one in result.points
    ]
    columns = {name: form for name, form in _COLUMNS.items() if name in rows[0]}
    return [
        Section("Networks", [_networks(result), html_table(rows, columns)]),
        Section("Layers", [_layers(result), _widths(result)]),
    ]


def _networks(result: SearchResult) -> go.Figure:
    figure = go.Figure()
    for kind in ("uniform", "mixed"):
        points = [one for one in result.points if one.name.startswith(kind)]
        figure.add_scatter(
            x=[one.weight_bytes for one in points],
            y=[one.agreement for one in points],
            text=[one.name for one in points],
            mode="markers+text",
            textposition="top center",
            name=kind,
        )
    figure.update_layout(
        xaxis_title="bytes of weights", yaxis_title="same class as in full precision"
    )
    figure.update_yaxes(tickformat=".1%")
    return figure


def _layers(result: SearchResult) -> go.Figure:
    figure = go.Figure()
    for bits in sorted(result.layers[0].distances)[:-1]:
        figure.add_bar(
            x=[layer.path for layer in result.layers],
            y=[layer.distances[bits] for layer in result.layers],
            name=f"{bits} bits",
        )
    figure.update_layout(barmode="group", yaxis_title="squared errors of the outputs more")
    return figure


def _widths(result: SearchResult) -> go.Figure:
    """A row for each network, a column for each layer."""
    paths = [layer.path for layer in result.layers]
    bits = [[one.widths[path] for path in paths] for one in result.points]
    figure = go.Figure(
        go.Heatmap(
            x=paths, y=[one.name for one in result.points], z=bits, colorbar={"title": "bits"}
        )
    )
    return figure
