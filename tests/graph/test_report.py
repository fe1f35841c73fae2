"""The table of a graph."""

import numpy as np
from hypothesis import given, settings

from nbqnn_train.graph import Conv2d, Graph, Input, Requantize, save
from nbqnn_train.graph.report import NodeReport, describe
from tests.graph.strategies import graphs


def test_a_convolution():
    nodes = (
        Input(name="x", shape=(2, 5, 5), bits=8, signed=False, exponent=-8),
        Conv2d(
            name="conv",
            input="x",
            weight=np.resize([0, 1, -4], (4, 1, 3, 3)),
            weight_bits=3,
            weight_exponent=[0] * 4,
            stride=(2, 1),
            groups=2,
            acc_bits=20,
        ),
        Requantize(
            name="y",
            input="conv",
            multiplier=[300, 1, 1, 1],
            bias=[0] * 4,
            shift=[9] * 4,
            bits=8,
            signed=True,
            exponent=-3,
            low=-128,
            high=127,
        ),
    )
    rows = describe(Graph(nodes=nodes, outputs=("y",)))
    assert [row.name for row in rows] == ["x", "conv", "y"]
    assert rows[1] == NodeReport(
        name="conv",
        op="Conv2d",
        shape=(4, 2, 3),
        bits=20,
        signed=True,
        acc_bits=20,
        needed_bits=13,  # -3 * 4 * 255 .. 3 * 255
        weight_bits=3,
        zeros=1 / 3,
        macs=4 * 2 * 3 * 9,
        bytes=14 + 4,
    )
    assert (rows[0].macs, rows[0].bytes, rows[0].acc_bits) == (0, 0, None)
    assert rows[2].bytes == 2 * 4 + 4 + 4


@settings(max_examples=25)
@given(graph=graphs())
def test_bytes_are_those_of_the_file(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "graph.nbqnn"
    save(graph, path)
    data = path.read_bytes()
    header = int.from_bytes(data[12:16], "little")
    assert sum(row.bytes for row in describe(graph)) == len(data) - 16 - header - 32
