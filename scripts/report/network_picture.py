"""A picture of the network: a box for each node, and lines for values."""

import zlib
from html import escape

from nbqnn_train.graph import Graph, Requantize, tensor_types
from nbqnn_train.pages import Section

__all__ = ["network_section"]

_WIDTH, _HEIGHT, _GAP = 330, 26, 12
#: Distance between two lines beside the boxes.
_LANE = 12
#: Rows of a slice.
_SLICE = 8
_STYLE = "font: 12px system-ui, sans-serif"


def network_section(name: str, graph: Graph) -> Section:
    """The picture, with the input at the top. A requantizer is in the box of the node before it."""
    types = tensor_types(graph)
    owner: dict[str, str] = {}
    boxes: dict[str, str] = {}
    sources: dict[str, list[str]] = {}
    users = dict.fromkeys(types, 0)
    for node in graph.nodes:
        for source in node.inputs:
            users[source] += 1
    for node in graph.nodes:
        inputs = [owner[source] for source in node.inputs]
        shape = "×".join(map(str, types[node.name].shape))
        bits = f"{types[node.name].bits} bit"
        if isinstance(node, Requantize) and users[node.inputs[0]] == 1 and inputs[0] in boxes:
            owner[node.name] = inputs[0]
            kind = boxes[inputs[0]].split("   ")[0]
            boxes[inputs[0]] = f"{kind}   {shape}, {bits}"
            continue
        owner[node.name] = node.name
        boxes[node.name] = f"{node.name}: {type(node).__name__}   {shape}, {bits}"
        sources[node.name] = inputs
    return Section("Network", [_drawn(boxes, sources)], name)


def _drawn(boxes: dict[str, str], sources: dict[str, list[str]]) -> str:
    rows = {name: number for number, name in enumerate(boxes)}
    parts, busy = [], []
    for name, row in rows.items():
        top = row * (_HEIGHT + _GAP)
        for source in sources[name]:
            begin = rows[source] * (_HEIGHT + _GAP) + _HEIGHT
            if rows[source] == row - 1:
                parts.append(f'<path d="M60 {begin}V{top}"/>')
                continue
            lane = next((n for n, end in enumerate(busy) if end <= rows[source]), len(busy))
            busy[lane : lane + 1] = [row]
            x = _WIDTH + _LANE * (lane + 1)
            parts.append(f'<path d="M{_WIDTH} {begin - 8}H{x}V{top + 8}H{_WIDTH}"/>')
        parts.append(
            f'<rect y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
            f'<text x="8" y="{top + 17}">{escape(boxes[name])}</text>'
        )
    drawing = (
        "".join(parts)
        .replace("<path", '<path fill="none"')
        .replace("<text", '<text fill="#1c2733" stroke="none"')
    )
    return _sliced(drawing, len(rows), _WIDTH + _LANE * (len(busy) + 2))


def _sliced(drawing: str, rows: int, width: int) -> str:
    """The drawing in slices of some rows, one below the other: pages of paper end between two."""
    step = _HEIGHT + _GAP
    name = f"network{zlib.crc32(drawing.encode()):08x}"
    slices = []
    for first in range(0, rows, _SLICE):
        top = first * step - _GAP // 2
        height = min(_SLICE, rows - first) * step
        content = f'<use href="#{name}"/>' if first else f'<g id="{name}">{drawing}</g>'
        slices.append(
            f'<svg viewBox="-1 {top} {width} {height}" width="{width}" height="{height}" '
            f'style="{_STYLE}" fill="#eef3f8" stroke="#5b7690">{content}</svg>'
        )
    return (
        '<div class="table-wrapper network" role="img" aria-label="the network, node by node">'
        f"{''.join(slices)}</div>"
    )
