"""What mobile networks take on the accelerator: several taps in a step, layers strip by strip."""

from dataclasses import replace

import pytest

from hw import compiler
from hw.compiler import compile_graph
from hw.compiler.blocks import BlockChoice
from hw.compiler.lower import dot
from hw.contract.image_blocks import AxisBlocks, ImageBlocks
from hw.contract.isa import Compute, Store, read_commands
from hw.contract.memory_timing import MemoryTiming
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import AvgPool2d, Graph, Input, MaxPool2d, SpaceToDepth, tensor_types
from tests.hw.accelerators import VERILATED
from tests.hw.compiler.test_strips import unet
from tests.hw.networks import Network, images, traced_codes
from tests.hw.runs import compare, compare_groups

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


@pytest.mark.parametrize("batch", [1, 2])
def test_strips(accelerator_model, monkeypatch, batch):
    """The map in the middle never leaves the chip, and its layers are done in two strips."""
    graph = wide_in_the_middle()
    # So small a map is not worth it.
    assert len(compile_graph(graph, CONFIG).layers) == 4
    monkeypatch.setattr(compiler.strips, "_LEAST_SAVED", 0)
    program = compile_graph(graph, CONFIG, batch=batch)
    names = [layer.name for layer in program.layers]
    assert names == batch * ["first", *2 * ["expand", "depthwise"], "project"]
    assert program.scratch_bytes == 0
    assert sum(isinstance(one, Store) for one in read_commands(program.commands)) == batch
    macs = program.per_image({"macs": layer.macs} for layer in program.layers)
    assert macs["expand"]["macs"] == 24 * 8 * 18 * 16
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    compare_groups(driver, inputs, traced_codes(graph, inputs))
    if batch > 1:
        return
    assert estimate_cycles(program).cycles < estimate_cycles(through_the_host(graph)).cycles


def test_strips_with_maxima(accelerator_model, monkeypatch):
    """Maps before a maximum: its windows overlap, and its padding is at some strips' ends only."""
    net = network(3, 38, 36)
    net.conv("first", (8, 3, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("a", 8, False)
    net.add(MaxPool2d, "overlapping", kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    net.conv("second", (24, 8, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("b", 8, True)
    net.add(MaxPool2d, "apart", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    net.conv("third", (6, 24, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("c", 8, True)
    graph = net.graph()
    monkeypatch.setattr(compiler.strips, "_LEAST_SAVED", -(10**6))
    program = compile_graph(graph, CONFIG)
    names = [layer.name for layer in program.layers]
    assert names == [*4 * ["first", "overlapping"], *3 * ["second", "apart"], "third"]
    assert program.scratch_bytes == 0
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, {name: expected[name] for name in graph.outputs})


@pytest.mark.parametrize(("skip", "up"), [(4, 4), (16, 8)])
def test_strips_of_a_concatenation(accelerator_model, monkeypatch, skip, up):
    """One operand is loaded, the other one computed into the same words."""
    monkeypatch.setattr(compiler.strips, "_LEAST_SAVED", -(10**9))
    graph = unet(skip, up)
    program = compile_graph(graph, replace(CONFIG, act_depth=256))
    names = [layer.name for layer in program.layers]
    assert names.count("up") == names.count("join") > 1
    assert "cat" not in names
    program = replace(program, config=CONFIG)
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, {name: expected[name] for name in graph.outputs})


def through_the_host(graph):
    """With every node stored, which no strip of a map is."""
    program = compile_graph(graph, CONFIG, traced=True)
    assert program.scratch_bytes
    return program


@pytest.mark.parametrize(("phases", "stride"), [(2, 2), (3, 1), (4, 1)])
def test_blocks_for_several_outputs(accelerator_model, monkeypatch, phases, stride):
    """A word of the image has the windows of several outputs, and some columns are left over."""

    def chosen(config, *, in_shape, out_shape, kernel, stride, padding):
        wide, step = kernel[1] + (phases - 1) * stride[1], phases * stride[1]
        rows, columns = (
            AxisBlocks(block=block, spacing=spacing, stride=spacing, padding=before, count=count)
            for block, spacing, before, count in (
                (kernel[0], stride[0], padding[0], out_shape[1]),
                (wide, step, padding[1], -(-out_shape[2] // phases)),
            )
        )
        blocks = ImageBlocks(channels=in_shape[0], rows=rows, columns=columns)
        return BlockChoice(blocks, phases, (kernel[0], wide), (stride[0], step))

    monkeypatch.setattr(dot, "choose_blocks", chosen)
    net = network(1, 20, 30)
    net.conv("first", (5, 1, 1, 2), 3, stride=(1, stride), padding=(0, 1, 0, 0))
    net.requantize("a", 8, False)
    net.conv("second", (3, 5, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("b", 8, True)
    graph = net.graph()
    program = compile_graph(graph, CONFIG)
    assert program.blocks.columns.block == 2 + (phases - 1) * stride
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, {name: expected[name] for name in graph.outputs})


def test_pixels_in_channels(accelerator_model):
    """The host moves the image's pixels into channels."""
    net = network(2, 12, 8).add(SpaceToDepth, "moved", block=2)
    net.conv("first", (5, 8, 3, 2), 3, stride=(1, 2), padding=(1, 0, 1, 1))
    graph = net.requantize("a", 8, False).graph()
    program = compile_graph(graph, CONFIG)
    assert [layer.name for layer in program.layers] == ["first"]
    inputs = images(graph, 2)
    driver, _ = accelerator_model(CONFIG).driver(program, timing=STALLS)
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, {name: expected[name] for name in graph.outputs})
