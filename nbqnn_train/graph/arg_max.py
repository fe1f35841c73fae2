"""The number of the largest channel as a graph's last step."""

from dataclasses import replace

from .nodes import Graph
from .operators import ArgMax

__all__ = ["with_arg_max"]


def with_arg_max(graph: Graph) -> Graph:
    """The graph whose outputs are the numbers of the largest channels of those of ``graph``.

    Softmax, log-softmax and sigmoid keep the order, so what ``final`` leaves out changes nothing.
    An output that is an ArgMax already stays.
    """
    names = {node.name for node in graph.nodes}
    added, outputs = [], []
    for output in graph.outputs:
        if not isinstance(graph[output], ArgMax):
            name = f"{output}.argmax"
            while name in names:
                name += "_"
            names.add(name)
            added.append(ArgMax(name=name, input=output))
            output = name
        outputs.append(output)
    return replace(graph, nodes=(*graph.nodes, *added), outputs=tuple(outputs), final=())
