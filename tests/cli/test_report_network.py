"""report: the picture of the network."""

import re

from nbqnn_train.graph import Graph, Input, MaxPool2d
from scripts.report.network_picture import network_section


def _chain(length: int) -> Graph:
    nodes = [Input(name="n0", shape=(1, 64, 64), bits=8, signed=True, exponent=0)]
    for number in range(1, length):
        pool = MaxPool2d(name=f"n{number}", input=f"n{number - 1}", kernel=(1, 1), stride=(1, 1))
        nodes.append(pool)
    return Graph(nodes=tuple(nodes), outputs=(f"n{length - 1}",))


def test_slices_show_every_row_once():
    """Paper is cut between two: the slices go on where the one before ends, between two boxes."""
    (drawn,) = network_section("network.graph", _chain(20)).parts
    boxes = [int(y) for y in re.findall(r'<rect y="(\d+)"', drawn)]
    assert len(boxes) == 20
    views = [tuple(map(int, view)) for view in re.findall(r'viewBox="\S+ (\S+) \S+ (\S+)"', drawn)]
    assert len(views) == 3
    ends = [top + height for top, height in views]
    assert [top for top, _ in views[1:]] == ends[:-1]
    assert views[0][0] < boxes[0]
    assert boxes[-1] + 26 < ends[-1]
    for cut in ends[:-1]:
        assert not any(box <= cut <= box + 26 for box in boxes)
    # The drawing is there once; the other slices use it.
    (name,) = re.findall(r'<g id="(\w+)"', drawn)
    assert drawn.count(f'<use href="#{name}"/>') == 2
