"""Accuracies are of networks that can have one."""

from dataclasses import replace

import numpy as np
import pytest

from nbqnn_train.data import load_data
from nbqnn_train.evaluation import evaluate
from nbqnn_train.graph import Graph, NbqnnError, run, save
from tests.cli.networks import small_graph


def whole() -> Graph:
    return small_graph()


def few() -> Graph:
    return small_graph(classes=4)


def map_() -> Graph:
    nodes = small_graph().nodes
    return Graph(nodes=nodes[:3], outputs=(nodes[2].name,))


def two() -> Graph:
    return replace(whole(), outputs=("logits", "conv_out"))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (few, "an output for each of the 10 classes of data set 'digits', not 4"),
        (map_, r"must give one number for each class, not a map \(4, 8, 8\)"),
        (two, "must have one input and one output to be evaluated, not 1 and 2"),
    ],
)
def test_what_has_no_accuracy_is_refused(graph, message, tmp_path):
    save(graph(), tmp_path / "graph")
    with pytest.raises(NbqnnError, match=message):
        evaluate(tmp_path / "graph", "digits")


def test_more_outputs_than_classes(tmp_path):
    graph = small_graph(classes=12)
    save(graph, tmp_path / "graph")
    test = load_data("digits", None).test
    codes = np.asarray(run(graph, test.images()))
    right = int((codes.argmax(1) == test.labels).sum())
    assert evaluate(tmp_path / "graph", "digits").accuracy == right / len(test)
