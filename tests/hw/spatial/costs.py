"""What circuits cost, estimated, kept in ``costs.json``; ``python -m`` this writes it anew.

Most changes of the search for shared sums leave every result as it is and make circuits larger or
slower. Only a comparison with what they cost before shows that.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hw.spatial.lowering import plan_network
from nbqnn_train.graph import Graph
from tests.hw.kept_costs import keep
from tests.hw.spatial.maps import valid_maps
from tests.hw.spatial.test_network import dense_graph

__all__ = ["COSTS", "costs"]

COSTS = Path(__file__).with_name("costs.json")


def costs() -> Iterator[tuple[str, dict[str, int]]]:
    """(name, costs) of each circuit."""
    for name, graph in _graphs():
        for levels, interval in ((1, 1), (3, 1), (2, 7), (2, 40)):
            plan = plan_network(graph, levels, interval)
            found = {
                "tables": plan.tables,
                "additions": plan.additions,
                "latency": plan.latency,
            }
            yield f"{name}, {levels} levels, interval {interval}", found


def _graphs() -> Iterator[tuple[str, Graph]]:
    for number, sizes in enumerate(((7, 9, 6, 5), (16, 48, 32, 5), (24, 24))):
        yield f"dense {sizes}", dense_graph(number, sizes)
    for seed, graph in islice(valid_maps(0), 60):
        yield f"maps {seed}", graph


if __name__ == "__main__":
    keep(COSTS, costs())
