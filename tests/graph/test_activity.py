"""Shares of clipped values and histograms."""

import numpy as np

from nbqnn_train.graph import Clip, Graph, Input, Linear, Requantize
from nbqnn_train.graph.activity import Activity, activity, weight_histogram


def test_clipping_and_histograms():
    nodes = (
        Input(name="x", shape=(2,), bits=4, signed=True, exponent=-1),
        Linear(
            name="fc",
            input="x",
            weight=[[1, 4], [0, -1]],
            weight_bits=3,
            weight_exponent=[0, 0],
            acc_bits=8,
        ),
        Requantize(
            name="y",
            input="fc",
            multiplier=[1, 1],
            bias=[0, 0],
            shift=[1, 0],
            bits=4,
            signed=False,
            exponent=0,
            low=0,
            high=9,
        ),
        Clip(name="z", input="y", low=1, high=3),
    )
    graph = Graph(nodes=nodes, outputs=("z",))
    # Codes of x: (2, 4), (7 from 10, -8 from -9), (-8 from -8.4, 7 from 7.4).
    x = np.float32([[1, 2], [5, -4.5], [-4.2, 3.7]])
    # Sums: (18, -4), (-25, 8), (20, -7); rounded: (9, -4), (-12, 8), (10, -7).
    assert activity(graph, x) == [
        Activity(name="x", below=1 / 6, above=1 / 6, histogram={-8: 2, 2: 1, 4: 1, 7: 2}),
        Activity(name="y", below=3 / 6, above=1 / 6, histogram={0: 3, 8: 1, 9: 2}),
    ]
    assert activity(graph, {"x": x}) == activity(graph, x)
    assert weight_histogram(graph["fc"]) == {-1: 1, 0: 1, 1: 1, 4: 1}
