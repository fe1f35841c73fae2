"""Tables and products on the accelerator: gates for each channel, squares, maps times maps."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import CompileError, compile_graph
from hw.contract.isa import Compute, Load, Memory, Product, Region, read_commands
from hw.contract.memory_timing import MemoryTiming
from nbqnn_train.graph import ArgMax, AvgPool2d, Clip, Concat, Flatten, Input
from nbqnn_train.graph.operators import Constant, Multiply, Sum, Table
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, gated_network, images, random_table, traced_codes
from tests.hw.runs import compare, compare_groups


def sums_network(*, act_bits: int, scale: bool):
    """Differences, negations, factors, constants, and what occurs twice."""
    net = Network(seed=4, scale=scale)
    net.add(Input, "image", shape=(5, 4, 3), bits=act_bits, signed=True, exponent=0)
    net.conv("conv", (5, 5, 1, 1), 2).requantize("map", act_bits, False, exponent=0)
    net.conv("other", (5, 5, 1, 1), 2).requantize("coarse", act_bits, False, exponent=5)
    for name in ("one", "another"):
        net.conv(f"conv_{name}", (5, 5, 1, 1), 2).requantize(name, act_bits, True, exponent=0)
    half = 1 << act_bits - 1
    for name, spatial in (("bias", (4, 3)), ("factor", (4, 3)), ("one_each", (1, 1))):
        codes = np.broadcast_to(net.rng.integers(-half, half, (5, 1, 1)), (5, *spatial))
        constant = Constant(name=name, codes=codes, bits=act_bits, signed=True, exponent=0)
        net.nodes.append(constant)
    sums = {
        "difference": (("image", "map"), (0, 0), (1, -1)),
        "negated": (("map", "bias"), (0, 0), (-1, -1)),
        "thrice": (("image", "image", "map", "image"), (0,) * 4, (1, 1, -1, 1)),
        "only_one": (("map", "image", "map", "bias"), (0,) * 4, (1, 1, -1, 1)),
        "many": (("image", "map", "bias", "one", "another"), (0,) * 5, (1, -1, 1, -1, -1)),
        "three": (("map", "image", "another", "image"), (0,) * 4, (-1, 1, 1, 1)),
        "far_apart": (("coarse", "map"), (5, 0), (-1, 1)),
    }
    for name, (operands, shifts, signs) in sums.items():
        net.add(Sum, name, operands=operands, shifts=shifts, signs=signs, acc_bits=48)
        net.requantize(f"out_{name}", act_bits, True, exponent=0)
    for a, b in (("map", "factor"), ("factor", "image"), ("map", "one_each")):
        net.add(Multiply, f"{a}_{b}", operands=(a, b), acc_bits=48)
        net.requantize(f"out_{a}_{b}", act_bits, True, exponent=0)
    return net.graph(*(node.name for node in net.nodes if node.name.startswith("out_")))


@pytest.mark.parametrize("name", ["shift_64", "scale_32", "multiply_256"])
def test_sums(accelerator_model, name):
    config = VERILATED[name]
    graph = sums_network(act_bits=config.act_bits, scale=config.requant == "scale")
    x = images(graph, 4)
    driver, _ = accelerator_model(config).driver(compile_graph(graph, config))
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)


@pytest.mark.parametrize(("depth", "batch"), [(1024, 1), (1024, 2), (128, 1), (128, 2)])
@pytest.mark.parametrize("name", ["shift_64", "scale_32"])
def test_constants_that_differ_from_position_to_position(accelerator_model, name, depth, batch):
    """They come from the parameters: whole, or with little memory tile by tile."""
    config = VERILATED[name]
    net = Network(seed=3, scale=config.requant == "scale")
    bits = config.act_bits
    net.add(Input, "image", shape=(5, 9, 6), bits=bits, signed=True, exponent=0)
    for constant, signed in (("places", True), ("scales", False)):
        low = -(1 << bits - 1) if signed else 0
        codes = net.rng.integers(low, low + (1 << bits), (5, 9, 6))
        net.nodes.append(Constant(name=constant, codes=codes, bits=bits, signed=signed, exponent=0))
    net.add(Sum, "sum", operands=("image", "places", "image"), shifts=(0, 0, 0), signs=(1, -1, 1),
            acc_bits=48).requantize("a", bits, True)  # fmt: skip
    net.add(Multiply, "product", operands=("scales", "a"), acc_bits=48)
    net.requantize("b", bits, True, exponent=0)
    net.add(Concat, "both", operands=("b", "places"))
    net.conv("conv", (7, 10, 3, 3), 2, padding=(1, 1, 1, 1)).requantize("c", bits, True)
    net.conv("of_constant", (3, 5, 2, 2), 2, input="places").requantize("d", bits, True)
    outputs = ["c", "d"]
    if depth == 1024:
        # What is also an output is stored from the chip, so it must be there as a whole.
        net.add(Flatten, "flat", input="scales")
        outputs.append("flat")
    graph = net.graph(*outputs)
    x = images(graph, 4)
    program = compile_graph(graph, replace(config, act_depth=depth), batch=batch, traced=True)
    loads = [c for c in read_commands(program.commands) if isinstance(c, Load)]
    constants = [c for c in loads if (c.memory, c.region) == (Memory.ACT, Region.PARAMETERS)]
    assert len({command.offset for command in constants}) > (depth < 1024)
    driver, _ = accelerator_model(config).driver(
        replace(program, config=config), timing=MemoryTiming(stall_rate=0.3, seed=4)
    )
    compare_groups(driver, x, traced_codes(graph, x))


@pytest.mark.parametrize("name", ["shift_64", "scale_32", "multiply_256"])
def test_gates_and_products(accelerator_model, name):
    config = VERILATED[name]
    model = accelerator_model(config)
    graph = gated_network(
        act_bits=config.act_bits,
        weight_bits=2,
        scale=config.requant == "scale",
        tables=config.tables,
        seed=3,
    )
    program = compile_graph(graph, config, traced=True)
    commands = read_commands(program.commands)
    kinds = {command.product for command in commands if isinstance(command, Compute)}
    # Signed or not, for each channel or not.
    assert kinds == {0, 1, 1 | Product.UNSIGNED, 1 | Product.SHARED, 7}
    loads = [c for c in commands if isinstance(c, Load) and c.memory == Memory.TABLE]
    assert bool(loads) == config.tables
    x = images(graph, 5)
    driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.3, seed=7))
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)


@pytest.mark.parametrize("depth", [1024, 128])
def test_arg_max(accelerator_model, depth):
    """Of a map, which with little memory goes through the host's, of its mean and of features."""
    config = VERILATED["shift_64"]
    net = Network(seed=2).add(Input, "image", shape=(3, 9, 6), bits=8, signed=True, exponent=0)
    net.conv("conv", (9, 3, 1, 1), 3).requantize("map", 3, True)
    net.add(ArgMax, "classes").add(AvgPool2d, "mean", input="map", kernel=(3, 6), stride=(3, 6),
            multiplier=1, shift=3, acc_bits=48)  # fmt: skip
    net.requantize("squeezed", 4, True).add(ArgMax, "of_mean")
    net.add(Flatten, "flat", input="squeezed").linear("linear", 6, 2).requantize("logits", 2, False)
    net.add(ArgMax, "of_features")
    graph = net.graph("classes", "of_mean", "of_features")
    x = images(graph, 6)
    expected = traced_codes(graph, x)
    program = compile_graph(graph, replace(config, act_depth=depth), batch=2)
    assert bool(program.scratch_bytes) == (depth < 1024)
    program = replace(program, config=config)
    model = accelerator_model(config)
    driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.3, seed=3))
    compare_groups(driver, x, expected)
    assert len(np.unique([codes["classes"] for codes in expected])) > 3


def test_extremes(accelerator_model):
    """Products of the ends of both ranges, signed and not."""
    config = VERILATED["shift_64"]
    net = Network(seed=1).add(Input, "image", shape=(2, 16, 17), bits=8, signed=True, exponent=0)
    net.add(Clip, "same", low=-128, high=127)
    net.add(Table, "unsigned", input="image", table=np.arange(256), bits=8, signed=False,
            exponent=0)  # fmt: skip
    for a, b in (("image", "same"), ("unsigned", "same"), ("unsigned", "unsigned")):
        net.add(Multiply, f"{a}_{b}", operands=(a, b), acc_bits=18)
        net.requantize(f"out_{a}_{b}", 8, True)
    graph = net.graph(*(node.name for node in net.nodes if node.name.startswith("out_")))
    program = compile_graph(graph, config)
    x = np.arange(544).reshape(1, 2, 16, 17).astype(np.float32) % 256 - 128
    driver, _ = accelerator_model(config).driver(program)
    (codes,) = traced_codes(graph, x)
    compare(driver, x[0], codes)


def test_refused():
    config = VERILATED["shift_64"]
    net = Network(seed=1).add(Input, "image", shape=(2, 4, 4), bits=8, signed=True, exponent=0)
    random_table(net, "function", "image", 8, True)
    net.add(Multiply, "product", operands=("image", "function"), acc_bits=18)
    graph = net.requantize("out", 8, True).graph()
    missing = (
        "the accelerator does not support: function (Table, which needs tables in the "
        "configuration), product (Multiply, which needs products in the configuration)"
    )
    with pytest.raises(CompileError) as error:
        compile_graph(graph, replace(config, tables=False, products=False))
    assert str(error.value) == missing
    with pytest.raises(CompileError) as error:
        compile_graph(graph, replace(config, acc_bits=14))
    assert str(error.value) == (
        "layer product: products up to 16384 need 16 accumulator bits, more than acc_bits = 14 "
        "of the configuration"
    )
