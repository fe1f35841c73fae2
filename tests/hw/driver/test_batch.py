"""Images in as many runs as they need, as they are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from hw.driver import run_batch
from nbqnn_train.graph import Graph, Input, NbqnnError, quantize_input

GRAPH = Graph(
    nodes=tuple(
        Input(name=name, shape=(2, 1, 3), bits=8, signed=True, exponent=0) for name in ("a", "b")
    ),
    outputs=("a", "b"),
)
ONE = Graph(nodes=GRAPH.nodes[:1], outputs=("a",))


class Identity:
    """A driver whose accelerator gives its inputs back, in batches of two images."""

    def __init__(self, graph):
        self.program = SimpleNamespace(graph=graph, batch=2)
        self.lengths = []

    def run(self, images):
        nodes = self.program.graph.input_nodes
        self.lengths.append(len(images[nodes[0].name]))
        return SimpleNamespace(outputs={n.name: quantize_input(n, images[n.name]) for n in nodes})


@pytest.mark.parametrize("shape", [(5, 2, 1, 3), (5, 2, 3)])
@pytest.mark.parametrize("graph", [GRAPH, ONE])
def test_float64_by_name_is_not_rounded_first(graph, shape):
    """Just below a tie: float32 has the tie itself, which goes up."""
    rng, driver = np.random.default_rng(0), Identity(graph)
    wanted = {node.name: rng.integers(-9, 9, (5, 2, 1, 3)) for node in graph.input_nodes}
    given = {name: codes.reshape(shape) + 0.5 - 1e-12 for name, codes in wanted.items()}
    found = run_batch(driver, given).outputs
    assert driver.lengths == [2, 2, 1]
    for name, codes in wanted.items():
        assert np.array_equal(found[name], codes)


def test_what_does_not_fit_is_refused_before_the_first_run():
    driver = Identity(GRAPH)
    x = np.zeros((4, 2, 1, 3), np.float32)
    with pytest.raises(NbqnnError, match=r"^Images must be as many for every input, not {'a': 4, "):
        run_batch(driver, {"a": x, "b": x[:2]})
    with pytest.raises(ValueError, match=r"^Images must be one or more, not none$"):
        run_batch(driver, {"a": x[:0], "b": x[:0]})
    assert driver.lengths == []
