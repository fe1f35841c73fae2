"""Area of networks as circuits, by Yosys for UltraScale+.

    python -m tests.benchmarks.spatial [GRAPH [INTERVAL]]

The jet network (16-64-32-32-5, 3-bit codes with 20 % zeros, 8-bit activations) and one dense layer
of 16 by 16, or the graph in a file with so many cycles for a position. Without streams.
"""

import sys
import tempfile
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from hw.rtl.ultrascale.twins import explicit_verilog
from hw.rtl.verilog import VerilogLibrary
from hw.spatial.lowering import plan_network
from hw.spatial.network import Network
from hw.synth.area import ModuleAreas
from hw.synth.mapping import map_design
from nbqnn_train.graph import Graph, Input, Linear, Requantize, load, narrowed

#: Additions between registers: five stages of the jet network, as da4ml's.
_LEVELS = 6


def _dense(number: int, source: str, magnitude: np.ndarray, sign: np.ndarray, bias, last: bool):
    weight = (magnitude * sign).astype(np.int64).T
    rows = len(weight)
    yield Linear(
        name=f"l{number}",
        input=source,
        weight=weight,
        weight_bits=3,
        weight_exponent=np.full(rows, -2),
        acc_bits=20,
    )
    yield Requantize(
        name=f"a{number}",
        input=f"l{number}",
        multiplier=np.ones(rows, np.int64),
        bias=bias,
        shift=np.full(rows, 2),
        bits=16 if last else 8,
        signed=last,
        exponent=-4,
        low=-32768 if last else 0,
        high=32767 if last else 255,
    )


def jet_network(sizes: tuple[int, ...] = (16, 64, 32, 32, 5)) -> Graph:
    """Random weights, of the shape that jet tagging has unless told otherwise."""
    random = np.random.default_rng(0)
    nodes = [Input(name="x", shape=sizes[:1], bits=8, signed=True, exponent=-4)]
    for number, shape in enumerate(pairwise(sizes)):
        magnitude = random.choice([0, 1, 2, 4], size=shape, p=[0.2, 0.35, 0.3, 0.15])
        sign = random.choice([-1, 1], size=shape)
        bias = 4 * random.integers(-64, 64, size=shape[1])
        nodes += _dense(number, nodes[-1].name, magnitude, sign, bias, number == len(sizes) - 2)
    return Graph(nodes=tuple(nodes), outputs=(nodes[-1].name,))


def dense_layer() -> Graph:
    """16 by 16, each weight 0, 1, 2 or 4 with either sign, equally often; nothing saturates."""
    random = np.random.default_rng(0)
    weight = random.choice([0, 1, -1, 2, -2, 4, -4], size=(16, 16))
    source = Input(name="x", shape=(16,), bits=8, signed=True, exponent=0)
    zero = np.zeros(16, np.int64)
    nodes = _dense(0, "x", np.abs(weight), np.sign(weight), zero, True)
    return narrowed(Graph(nodes=(source, *nodes), outputs=("a0",)))


def measure(graph: Graph, interval: int = 1) -> dict:
    """Area of the circuit without streams, its latency and its cycles for an image."""
    plan = plan_network(graph, _LEVELS, interval)
    library = VerilogLibrary()
    top = Network(plan)
    library.add(top)
    verilog = explicit_verilog(library.verilog(), library.components, "xcup")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "yosys.log"
        cells = map_design(verilog, top.module_name, "xcup", keep=set(), log=log).cells
    area = ModuleAreas(cells, "xcup").of(top.module_name)
    times = {"latency": plan.latency, "cycles": plan.cycles_per_image}
    return asdict(area) | times | {"estimated tables": plan.tables}


def main(path: str | None = None, interval: str = "1"):
    graphs = [("jet", jet_network()), ("dense 16x16", dense_layer())]
    if path is not None:
        graphs = [(path, load(path))]
    for name, graph in graphs:
        found = measure(graph, int(interval))
        print(name, ", ".join(f"{key} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
