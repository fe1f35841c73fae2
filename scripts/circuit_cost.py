"""What a network costs as a circuit like that of a build: same clock, same interval."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from hw.boards.registry import find_board
from hw.spatial.build import SpatialBuild
from hw.spatial.delay import levels_for
from hw.spatial.lowering import plan_network
from nbqnn_train.graph import Graph
from scripts.check_result import CheckedLayer, HardwareCost

__all__ = ["circuit_cost", "circuit_hardware"]

#: Board whose look-up tables a circuit may take.
_BOARD = "zcu102"


def circuit_hardware(build: SpatialBuild) -> HardwareCost:
    """The hardware before anything is known of its cost."""
    pace = "cycle" if build.interval == 1 else f"{build.interval} cycles"
    name = f"a circuit of its own, a position every {pace} at {build.clock_mhz} MHz"
    return HardwareCost(name=name)


def circuit_cost(
    graph: Graph, build: SpatialBuild, layers: Sequence[CheckedLayer]
) -> tuple[HardwareCost, tuple[CheckedLayer, ...]]:
    """The cost of ``graph`` as a circuit with the build's clock and interval, and of its layers.

    All layers work at once, so cycles are those of the whole network only.

    Raises :class:`hw.spatial.errors.SpatialError` for a graph that no circuit can be made of, or
    none that fits the ZCU102.
    """
    plan = plan_network(
        graph, levels_for(build.clock_mhz), build.interval, tables=find_board(_BOARD).lut
    )
    tables: dict[str, int] = defaultdict(int)
    for part in plan.parts:
        tables[part.layer.removesuffix(".out")] += part.tables
    cost = replace(
        circuit_hardware(build),
        cycles_per_image=float(plan.cycles_per_image),
        images_per_second=1e6 * build.clock_mhz / plan.cycles_per_image,
        clock_mhz=build.clock_mhz,
        lut=plan.tables,
    )
    return cost, tuple(replace(one, lut=tables.get(one.name, 0)) for one in layers)
