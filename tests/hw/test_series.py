"""Long series on the accelerator: windows of more than 255 positions, features of all positions."""

from dataclasses import replace

import pytest

from hw.compiler import compile_graph
from hw.contract.isa import MAX_KERNEL
from hw.contract.memory_timing import MemoryTiming
from nbqnn_train.graph import Concat, Flatten, Input, MaxPool2d
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, traced_codes
from tests.hw.runs import compare_groups

LENGTH = MAX_KERNEL + 45


@pytest.mark.parametrize("batch", [1, 2])
def test_a_long_series(accelerator_model, batch):
    config = VERILATED["shift_64"]
    net = Network(seed=2)
    net.add(Input, "series", shape=(3, 1, LENGTH), bits=8, signed=True, exponent=0)
    net.conv("far", (4, 3, 1, MAX_KERNEL + 2), 3, padding=(0, 100, 0, 99), stride=(1, 60))
    net.requantize("a", 8, True, exponent=0)
    sizes = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    net.add(MaxPool2d, "largest", input="series", kernel=(1, LENGTH), **sizes)
    net.add(MaxPool2d, "within", input="series", kernel=(1, MAX_KERNEL + 1), **sizes)
    net.add(Flatten, "all", input="series").linear("linear", 5, 3).requantize("b", 8, True)
    for name in ("a", "within", "largest"):
        net.add(Flatten, f"{name}.features", input=name)
    net.add(Concat, "both", operands=("a.features", "within.features"))
    net.requantize("factors", 8, True).linear("last", 5, 3).requantize("c", 8, True)
    graph = net.graph("b", "c", "largest.features")
    x = images(graph, 4)
    program = compile_graph(graph, replace(config, act_depth=1024), batch=batch, traced=True)
    driver, _ = accelerator_model(config).driver(
        replace(program, config=config), timing=MemoryTiming(stall_rate=0.3, seed=5)
    )
    compare_groups(driver, x, traced_codes(graph, x))
