"""What mobile networks take on the accelerator: several taps in a step, layers strip by strip."""

import pytest

from hw import compiler
from hw.compiler import compile_graph
from hw.contract.isa import Compute, Store, read_commands
from hw.contract.memory_timing import MemoryTiming
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import AvgPool2d, Graph, Input, tensor_types
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, traced_codes
from tests.hw.runs import compare

#: Three taps of three positions in a step.
CONFIG = VERILATED["scale_32"]
STALLS = MemoryTiming(stall_rate=0.3, read_latency=7)


def network(channels, height, width):
    return Network(seed=4, scale=True).add(
        Input, "image", shape=(channels, height, width), bits=8, signed=False, exponent=-8
    )


def computes(program):
    return [one for one in read_commands(program.commands) if isinstance(one, Compute)]


@pytest.mark.parametrize("width", [3, 4, 7])
def test_several_taps(accelerator_model, width):
    """Rows that groups divide and others, windows wider than the taps and narrower ones."""
    net = network(5, 6, width)
    net.conv("expand", (17, 5, 1, 1), 2).requantize("a", 8, False)
    for number, kernel in enumerate([(3, 3), (2, 5), (3, 4), (3, 2)]):
        padding = (kernel[0] // 2, kernel[1] // 2) * 2
        net.conv(f"depthwise{number}", (17, 1, *kernel), 3, padding=padding, groups=17)
        net.requantize(f"b{number}", 8, number % 2 == 0)
    size = tensor_types(Graph(nodes=tuple(net.nodes), outputs=()))[net.last].shape[1:]
    net.add(AvgPool2d, "average", kernel=size, stride=(2, 2), padding=(0, 0, 0, 0),
            multiplier=3, shift=6, acc_bits=48)  # fmt: skip
    graph = net.requantize("c", 8, True).graph()
    program = compile_graph(graph, CONFIG, traced=True)
    taps = {program.layers[one.layer].name for one in computes(program) if one.adds & 4}
    assert {"depthwise0", "depthwise1", "average"} <= taps, taps
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, expected)


def wide_in_the_middle():
    """A map of 864 words, of the memory's 1,024, between one of 288 and one of 216."""
    net = network(3, 18, 16)
    net.conv("first", (8, 3, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("a", 8, False)
    net.conv("expand", (24, 8, 1, 1), 3).requantize("b", 8, False)
    net.conv("depthwise", (24, 1, 3, 3), 3, stride=(2, 2), padding=(1, 1, 1, 1), groups=24)
    net.requantize("c", 8, False)
    net.conv("project", (8, 24, 1, 1), 3).requantize("d", 8, True)
    return net.graph()


def test_strips(accelerator_model, monkeypatch):
    """The map in the middle never leaves the chip, and its layers are done in two strips."""
    graph = wide_in_the_middle()
    # So small a map is not worth it.
    assert len(compile_graph(graph, CONFIG).layers) == 4
    monkeypatch.setattr(compiler.fused, "_LEAST_SAVED", 0)
    program = compile_graph(graph, CONFIG)
    names = [layer.name for layer in program.layers]
    assert names == ["first", *2 * ["expand", "depthwise"], "project"]
    assert program.scratch_bytes == 0
    assert sum(isinstance(one, Store) for one in read_commands(program.commands)) == 1
    macs = program.per_image({"macs": layer.macs} for layer in program.layers)
    assert macs["expand"]["macs"] == 24 * 8 * 18 * 16
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, {name: expected[name] for name in graph.outputs})
    assert estimate_cycles(program).cycles < estimate_cycles(through_the_host(graph)).cycles


def through_the_host(graph):
    """With every node stored, which no strip of a map is."""
    program = compile_graph(graph, CONFIG, traced=True)
    assert program.scratch_bytes
    return program
