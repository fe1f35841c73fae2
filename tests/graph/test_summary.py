"""What is known of a graph, and in JSON."""

import json
from dataclasses import asdict

import numpy as np
from hypothesis import given, settings

from nbqnn_train.graph import Input, Requantize, run, tensor_types
from nbqnn_train.graph.activity import weight_histogram
from nbqnn_train.graph.report import describe
from nbqnn_train.graph.summary import GraphSummary, summarize
from tests.graph.strategies import Space, graphs


@settings(max_examples=25)
@given(graph=graphs(Space(inputs=(1, 1))))
def test_rows_hold_the_table_the_weights_and_the_codes(graph):
    (source,) = graph.input_nodes
    code = tensor_types(graph)[source.name]
    span = np.random.default_rng(0).uniform(code.low - 9, code.high + 9, (5, *code.shape))
    images = np.ldexp(span, code.exponent).astype(np.float32)
    summary = summarize(graph, [images[:3], images[3:]])
    assert summary.images == 5
    codes = run(graph, images, trace=True)
    for node, row, described in zip(graph.nodes, summary.nodes, describe(graph), strict=True):
        assert asdict(described).items() <= asdict(row).items()
        assert (row.weights is not None) == hasattr(node, "weight")
        if hasattr(node, "weight"):
            assert row.weights == weight_histogram(node)
        assert (row.codes is not None) == isinstance(node, Input | Requantize)
        if row.codes is not None:
            values, counts = np.unique(codes[node.name], return_counts=True)
            assert row.codes == dict(zip(values.tolist(), counts.tolist(), strict=True))
            assert list(row.codes) == sorted(row.codes)
            assert 0 <= row.below + row.above <= 1 + 1e-9
    written = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert GraphSummary.from_json(written) == summary


@settings(max_examples=5)
@given(graph=graphs())
def test_without_images_no_codes(graph):
    summary = summarize(graph)
    assert summary.images == 0
    assert not any(row.codes for row in summary.nodes)
