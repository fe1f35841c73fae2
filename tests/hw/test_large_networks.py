"""What the compiler does for size and speed: blocks, free concatenations, tiles of rows."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_graph
from hw.contract.isa import Compute, Load, Region, Store, Unit, read_commands
from hw.contract.memory_timing import MemoryTiming
from nbqnn_train.graph import Add, Concat, Input
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, traced_codes
from tests.hw.runs import compare

CONFIG = VERILATED["shift_64"]


def exact(model, program, graph, **timing):
    """Runs a program on the model, also one that was compiled for a smaller memory."""
    driver, _ = model.driver(
        replace(program, config=model.config), timing=MemoryTiming(stall_rate=0.2, **timing)
    )
    x = images(graph, 2)
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "size"),
    [
        (1, (3, 3), (1, 1), (1, 1, 1, 1), (9, 8)),
        (1, (5, 4), (2, 2), (2, 2, 2, 1), (11, 12)),
        (2, (7, 7), (2, 2), (3, 3, 3, 3), (14, 13)),
        (1, (11, 11), (4, 4), (2, 2, 2, 2), (23, 23)),
        (2, (1, 6), (1, 3), (0, 0, 0, 4), (3, 16)),
        (1, (4, 2), (3, 1), (3, 0, 0, 0), (10, 5)),
    ],
)
def test_images_in_blocks(accelerator_model, channels, kernel, stride, padding, size):
    net = Network(seed=channels)
    net.add(Input, "image", shape=(channels, *size), bits=8, signed=False, exponent=0)
    net.conv("first", (5, channels, *kernel), 3, stride=stride, padding=padding)
    graph = net.requantize("out", 8, True).graph()
    program = compile_graph(graph, CONFIG)
    assert program.blocks is not None
    assert 1 < program.blocks.shape[0] <= CONFIG.lanes
    exact(accelerator_model(CONFIG), program, graph)


def dense_block(growth: int, layers: int):
    """Each layer reads all that came before, as in a DenseNet."""
    net = Network(seed=growth)
    net.add(Input, "image", shape=(3, 6, 5), bits=8, signed=True, exponent=0)
    net.conv("first", (8, 3, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("features", 8, False)
    channels, joined = 8, "features"
    for layer in range(layers):
        net.conv(f"conv{layer}", (growth, channels, 3, 3), 2, padding=(1, 1, 1, 1))
        net.requantize(f"new{layer}", 8, False)
        net.add(Concat, f"concat{layer}", operands=(joined, f"new{layer}"))
        joined, channels = f"concat{layer}", channels + growth
    net.conv("last", (3, channels, 1, 1), 3)
    return net.requantize("out", 8, True).graph()


@pytest.mark.parametrize(("growth", "free"), [(4, True), (8, True), (6, False)])
def test_concatenation(accelerator_model, growth, free):
    """Free where every part begins at a whole chunk of channels, else computed."""
    graph = dense_block(growth, 3)
    program = compile_graph(graph, CONFIG, traced=True)
    assert ("concat1" not in {layer.output for layer in program.layers}) == free
    exact(accelerator_model(CONFIG), program, graph)
    # In a memory too small for it, the block is copied through the host's memory.
    small = compile_graph(graph, replace(CONFIG, act_depth=128))
    assert "concat2" in {layer.output for layer in small.layers}
    exact(accelerator_model(CONFIG), small, graph)


@pytest.mark.parametrize("shifts", [(s, 0) for s in range(7)] + [(0, 3), (1, 4), (2, 6)])
def test_steps_of_sums(accelerator_model, shifts):
    """Two, if the operands' factors have a digit each of its own: 1, 2, 4 and 8, 16."""
    net = Network(seed=sum(shifts))
    net.add(Input, "image", shape=(6, 5, 4), bits=8, signed=False, exponent=0)
    exponents = [shift - 8 for shift in shifts]
    net.conv("one", (9, 6, 1, 1), 3).requantize("a", 8, False, exponent=exponents[0])
    net.conv("two", (9, 9, 1, 1), 3).requantize("b", 8, True, exponent=exponents[1])
    net.add(Add, "sum", operands=("a", "b"), shifts=shifts, acc_bits=24)
    graph = net.requantize("out", 8, True).graph()
    program = compile_graph(graph, CONFIG, traced=True)
    steps = {
        command.channel_groups * command.kernel_h * command.kernel_w
        for command in read_commands(program.commands)
        if isinstance(command, Compute) and command.unit == Unit.SUM
    }
    digits = [1 if shift < 3 else 2 if shift < 5 else 3 for shift in shifts]
    alone = max(digits) == 1 or sorted(digits) == [1, 2]
    assert steps == {2 if alone else 2 * max(digits)}
    exact(accelerator_model(CONFIG), program, graph)


@pytest.mark.parametrize("depth", [256, 1024])
def test_maps_through_the_host_memory(accelerator_model, depth):
    """A residual block with pooling whose maps are larger than the memory: 240 words each."""
    net = Network(seed=depth)
    net.add(Input, "image", shape=(9, 10, 8), bits=8, signed=False, exponent=0)
    net.conv("one", (9, 9, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("a", 8, False)
    net.conv("two", (9, 9, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("b", 8, False, exponent=-3)
    net.add(Add, "sum", operands=("a", "b"), shifts=(0, 1), acc_bits=24).requantize("c", 8, False)
    net.conv("three", (6, 9, 4, 3), 3, stride=(2, 1), padding=(2, 0, 1, 1))
    graph = net.requantize("out", 8, True).graph()
    program = compile_graph(graph, replace(CONFIG, act_depth=depth), traced=True)
    through = [c for c in read_commands(program.commands) if isinstance(c, Load)]
    assert any(c.region == Region.SCRATCH for c in through) == (depth < 512)
    exact(accelerator_model(CONFIG), program, graph, seed=depth, write_latency=1000)


def test_transfers_hide_behind_the_computation(accelerator_model):
    """A single layer, image and result streamed: 1 % more cycles than steps, and its ends."""
    net = Network(seed=2)
    net.add(Input, "image", shape=(4, 24, 24), bits=8, signed=True, exponent=0)
    net.conv("conv", (8, 4, 3, 3), 3, padding=(1, 1, 1, 1))
    graph = net.requantize("out", 8, True).graph()
    program = compile_graph(graph, CONFIG)
    driver, _ = accelerator_model(CONFIG).driver(program)
    x = images(graph, 1)
    result = compare(driver, x[0], traced_codes(graph, x)[0])
    steps = 24 * 24 // CONFIG.pixels * 9
    first_rows_and_last = 3 * 24 + 3 * 2 * 24
    assert result.array_cycles == steps
    assert result.cycles < 1.01 * steps + first_rows_and_last + 8 * 64
    assert np.isclose(result.cycles, steps, rtol=0.3)


def test_what_is_loaded_back_has_been_stored():
    """A load from the scratch region waits for every store that writes what it reads."""
    net = Network(seed=3)
    net.add(Input, "image", shape=(9, 40, 10), bits=8, signed=False, exponent=0)
    for layer, channels in enumerate((9, 17, 5)):
        inputs = 9 if layer == 0 else (9, 17)[layer - 1]
        net.conv(f"conv{layer}", (channels, inputs, 3, 3), 3, padding=(1, 1, 1, 1))
        net.requantize(f"map{layer}", 8, False)
    beat = CONFIG.axi_beat_bits // 8

    def spans(command):
        starts = range(command.rows)
        starts = [command.offset + row * command.offset_stride for row in starts]
        return [(start, start + command.beats * beat) for start in starts]

    for depth in (256, 512, 1024):
        program = compile_graph(net.graph(), replace(CONFIG, act_depth=depth))
        commands = read_commands(program.commands)
        stores = [c for c in commands if isinstance(c, Store)]
        loads = [c for c in commands if isinstance(c, Load) and c.region == Region.SCRATCH]
        assert loads
        for load in loads:
            for store in stores[load.wait_store :]:
                assert store.region != Region.SCRATCH or not any(
                    a < d and c < b for a, b in spans(load) for c, d in spans(store)
                ), (depth, load, store)
