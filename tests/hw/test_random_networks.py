"""The accelerator on random networks: every code of every layer, whatever the memory's timing."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from hw.compiler import CompileError, compile_graph, strips
from hw.contract.images import checked_images
from hw.contract.isa import DESCRIPTOR_BYTES, Compute, Opcode, read_commands
from hw.contract.memory_timing import MemoryTiming
from hw.driver.memory import memory_bytes
from nbqnn_train.graph import (
    ArgMax,
    Bilinear2d,
    Channels,
    ConvTranspose2d,
    DepthToSpace,
    Flip2d,
    Input,
    Interpolate2d,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Slice2d,
    SpaceToDepth,
    Unflatten,
    Upsample2d,
    run_codes,
    tensor_types,
)
from nbqnn_train.graph.operators import Constant, Multiply, Sum, Table
from tests.graph.strategies import BASIC, Case, Space, cases
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, small_network, traced_codes
from tests.hw.runs import PAGE, compare, compare_groups
from tests.nightly import examples

#: What a configuration can refuse of a random graph; anything else is a bug.
REFUSALS = (
    "must fit act_depth",
    "of constants alone",
    "(Multiply, which needs products in the configuration)",
    "takes each times a power of two up to",
    "of constant",
    "constant as an output",
    "accumulator bits, more than acc_bits",
    "a factor for each channel behind a linear layer",
    "must fit weight_depth",
    "must fit param_depth",
    "bits (acc_bits =",
    "must have 2**k + 1 knots with k =",
    "channels needs so many; remedy: leave the arg-max to the host",
)

#: Kinds of nodes that not every configuration has.
NEEDED = {Multiply: "products", Table: "tables"}
#: Operators that are done by addresses, and by the order of weights.
ADDRESSED = (
    *(Bilinear2d, Channels, ConvTranspose2d, DepthToSpace, Flip2d, Pad2d, RegionAverage2d),
    *(Interpolate2d, RegionMax2d, Slice2d, SpaceToDepth, Unflatten, Upsample2d),
)
#: Operators that BASIC lacks and every configuration has.
OPERATORS = (*2 * ADDRESSED, ArgMax, ArgMax)


def space(config, kinds=()):
    """Graphs that mostly fit, of what the configuration has and of these kinds."""
    needed = (kind for kind, field in NEEDED.items() if getattr(config, field))
    return Space(
        kinds=(*BASIC, Sum, Constant, *needed, *kinds),
        inputs=(1, 2) if kinds else (1, 1),
        channels=(1, 2 * max(config.lanes, config.filters) + 1),
        size=(1, 7),
        act_bits=tuple(bits for bits in (2, 3, 4, 7, 8, 12, 16) if bits <= config.act_bits),
        weight_bits=tuple(range(2, config.weight_bits + 1)),
        modes=("shift",) if config.requant == "shift" else ("shift", "scale"),
    )


timings = st.builds(
    MemoryTiming,
    read_latency=st.sampled_from([1, 2, 7, 32, 300]),
    write_latency=st.sampled_from([1, 2, 16, 200]),
    outstanding=st.sampled_from([1, 2, 16]),
    bytes_per_cycle=st.sampled_from([0.0, 0.7, 3.0, 20.0]),
    stall_rate=st.sampled_from([0.0, 0.1, 0.5, 0.8]),
    seed=st.integers(1, 1 << 20),
)


def bases(config, size):
    """Pages that the memory can begin with: near multiples of 64 KiB and 4 GiB, and any."""
    last = ((1 << config.axi_address_width) - size) // PAGE
    near = [
        page - before
        for boundary in (16, 32, 33, 48)
        for page in ((1 << boundary) // PAGE,)
        for before in (1, 2, 3, 7)
        if page <= last
    ]
    return st.one_of(st.sampled_from([0, last, *near]), st.integers(0, last)).map(
        lambda page: page * PAGE
    )


def as_images(case: Case) -> np.ndarray:
    """The case's codes as real numbers, which the driver quantizes again."""
    types = tensor_types(case.graph)
    values = {
        name: np.ldexp(codes.astype(np.float64), types[name].exponent)
        for name, codes in case.codes.items()
    }
    return checked_images(case.graph, values)


@pytest.fixture(autouse=True)
def in_strips(monkeypatch):
    """Maps this small would not be cut into strips of rows."""
    monkeypatch.setattr(strips, "_LEAST_SAVED", -(10**9))


@pytest.mark.parametrize("name", VERILATED)
def test_random_networks(accelerator_model, name):
    counts = run_random(accelerator_model, VERILATED[name], (), 100)
    assert counts["refused"] <= counts["run"], counts


def test_random_operators(accelerator_model):
    """Operators by addresses and arg-max, alone and in chains with all other layers."""
    counts = Counter()
    for name in ("shift_64", "scale_32"):
        counts.update(run_random(accelerator_model, VERILATED[name], OPERATORS, 80))
    assert counts["refused"] <= counts["run"] // 2, counts
    assert counts["spilled"], counts
    assert counts["in parts"], counts
    assert counts["largest"], counts


def run_random(accelerator_model, config, kinds, count):
    """Runs random networks of these kinds; how many ran, were refused, used the host's memory,
    had weights in parts, had an arg-max."""
    model = accelerator_model(config)
    counts = {"run": 0, "refused": 0, "spilled": 0, "in parts": 0, "largest": 0}
    depths = [
        1 << bits
        for bits in range(5, config.act_depth.bit_length())
        if 1 << bits >= 2 * config.banks
    ]
    weight_depths = [1 << bits for bits in range(4, config.weight_depth.bit_length())]

    @settings(
        max_examples=examples(count),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(
        case=cases(space(config, kinds)),
        timing=timings,
        traced=st.booleans(),
        depth=st.sampled_from([*depths, config.act_depth]),
        weight_depth=st.sampled_from([*weight_depths, config.weight_depth]),
        batch=st.sampled_from([1, 1, 2, 3]),
        base=bases(config, len(model.accelerator.memory)),
    )
    def check(case, timing, traced, depth, weight_depth, batch, base):
        # Compiled for a smaller memory than it runs on: maps then go through the host's memory,
        # and weights come in parts.
        smaller = replace(config, act_depth=depth, weight_depth=weight_depth)
        try:
            program = compile_graph(case.graph, smaller, batch=batch, traced=traced)
        except CompileError as error:
            reason = next((text for text in REFUSALS if text in str(error)), None)
            assert reason, error
            event(reason)
            counts["refused"] += 1
            assume(False)
        assume(memory_bytes(program) <= len(model.accelerator.memory))
        counts["run"] += 1
        counts["spilled"] += program.scratch_bytes > sum(
            -(-port.layout.host_bytes(config) // 4096) * 4096 for port in program.traced
        )
        counts["in parts"] += any(
            isinstance(command, Compute) and command.adds
            for command in read_commands(program.commands)
        )
        counts["largest"] += any(isinstance(node, ArgMax) for node in case.graph.nodes)
        program = replace(program, config=config)
        codes = run_codes(case.graph, case.codes, trace=True)
        model.accelerator.move_memory(base)
        driver, _ = model.driver(program, timing=timing)
        x = as_images(case)
        expected = [
            {node: values[index] for node, values in codes.items()} for index in range(len(x))
        ]
        compare_groups(driver, x, expected)

    check()
    return counts


@pytest.mark.parametrize("name", VERILATED)
def test_maps_through_the_hosts_memory(accelerator_model, monkeypatch, name):
    """Each layer's map leaves the accelerator and comes back in tiles of a few rows."""
    monkeypatch.setattr(strips, "_LEAST_SAVED", 10**9)
    config = VERILATED[name]
    model = accelerator_model(config)
    bits, channels = config.act_bits, config.lanes
    net = Network(seed=4)
    net.add(Input, "image", shape=(channels, 20, 6), bits=bits, signed=False, exponent=-bits)
    net.conv("conv1", (channels, channels, 3, 1), 2, padding=(1, 0, 1, 0))
    net.requantize("act1", bits, False)
    net.conv("conv2", (channels, channels, 1, 3), 2).requantize("act2", bits, True)
    graph = net.graph("act2")
    x = images(graph, 4)
    expected = traced_codes(graph, x)
    for depth, batch, stall_rate in ((32, 1, 0.0), (32, 3, 0.4), (64, 2, 0.1), (128, 1, 0.5)):
        program = compile_graph(graph, replace(config, act_depth=depth), batch=batch)
        assert program.scratch_bytes
        program = replace(program, config=config)
        driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=stall_rate, seed=depth))
        compare_groups(driver, x, expected)


# The least one has too little of everything for them.
@pytest.mark.parametrize("name", [name for name in VERILATED if name != "least_32"])
def test_every_kind_of_layer(accelerator_model, name):
    """Networks with everything in them, larger than the random ones: weights in several tiles."""
    config = VERILATED[name]
    model = accelerator_model(config)
    tiles = 0
    for seed, filters in ((1, 9), (2, 12), (3, 15)):
        graph = small_network(
            act_bits=config.act_bits,
            weight_bits=config.weight_bits,
            scale=config.requant == "scale",
            seed=seed,
            filters=filters,
        )
        program = compile_graph(graph, config, traced=True)
        commands = range(0, len(program.commands), DESCRIPTOR_BYTES)
        computes = [program.commands[at] for at in commands].count(Opcode.COMPUTE)
        tiles = max(tiles, computes - len(program.layers))
        x = images(graph, 4, seed)
        driver, _ = model.driver(program, timing=MemoryTiming(stall_rate=0.3, seed=seed))
        for image, expected in zip(x, traced_codes(graph, x), strict=True):
            compare(driver, image, expected)
    assert tiles >= 2


def test_padded_rows(accelerator_model):
    """A map whose rows are laid out with gaps, so that a strided reader finds all its banks."""
    config = VERILATED["shift_64"]
    net = Network(seed=5).add(Input, "image", shape=(3, 6, 6), bits=8, signed=True, exponent=0)
    net.conv("first", (5, 3, 1, 1), 3).requantize("middle", 8, False)
    net.conv("second", (4, 5, 3, 3), 2, stride=(2, 2), padding=(1, 1, 1, 1))
    graph = net.requantize("out", 8, True).graph()
    program = compile_graph(graph, config, traced=True)
    assert program.traced[0].layout.pitch > program.traced[0].layout.width
    x = images(graph, 4)
    driver, _ = accelerator_model(config).driver(program)
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)
