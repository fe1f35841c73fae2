"""hw.compiler: operators, on a machine of plain integers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hw.compiler import CompileError, compile_graph, strips
from hw.compiler.lower.lower import support
from hw.compiler.simplified import simplified
from hw.contract.isa import Compute, Unit, read_commands
from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Channels,
    Clip,
    Concat,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    Flip2d,
    Input,
    MaxPool2d,
    Pad2d,
    Requantize,
    SpaceToDepth,
    Unflatten,
    Upsample2d,
    run_codes,
    tensor_types,
    validate,
)
from nbqnn_train.graph.operators import ArgMax, Multiply, Slice2d, Sum, Table
from tests.graph.strategies import cases
from tests.hw.accelerators import BENCHED, VERILATED
from tests.hw.machine import run_program
from tests.hw.networks import Network, gated_network
from tests.hw.test_random_networks import ADDRESSED, REFUSALS, space
from tests.nightly import examples

CONFIG = VERILATED["shift_64"]


def computes(program):
    commands = read_commands(program.commands)
    return [command for command in commands if isinstance(command, Compute)]


def image(channels, height=6, width=7, seed=1):
    net = Network(seed=seed)
    shape = (channels, height, width)
    return net.add(Input, "image", shape=shape, bits=8, signed=True, exponent=0)


def compare(graph, config=CONFIG, **options):
    """Compiles and runs two images; every code equals the interpreter's."""
    program = compile_graph(graph, config, traced=True, **options)
    (node,) = graph.input_nodes
    codes = np.random.default_rng(1).integers(-128, 128, (program.batch, *node.shape))
    expected = run_codes(graph, {node.name: codes}, trace=True)
    for name, found in run_program(program, {node.name: codes}).items():
        assert np.array_equal(found, expected[name].reshape(found.shape)), name
    return program


def drawn(config):
    """Networks of the space, with sums, products and tables as the configuration has them, for
    memories of all sizes, so that maps come in strips and weights in parts."""
    kinds = (*space(config).kinds, *2 * ADDRESSED, ArgMax)
    depths = [1 << bits for bits in range(5, 11) if 2 * config.banks <= 1 << bits]
    return {
        "case": cases(replace(space(config), kinds=kinds, inputs=(1, 2))),
        "traced": st.booleans(),
        "depth": st.sampled_from(depths),
        "weight_depth": st.sampled_from([8, 16, 64]),
        "batch": st.integers(1, 2),
    }


@pytest.mark.parametrize("config", [*VERILATED.values(), *BENCHED.values()], ids=lambda c: c.name)
def test_random_networks(config, monkeypatch):
    # Maps this small would not be cut into strips of rows.
    monkeypatch.setattr(strips, "_LEAST_SAVED", -(10**9))
    counts = Counter()

    @settings(max_examples=examples(15), suppress_health_check=list(HealthCheck))
    @given(**drawn(config))
    def check(case, traced, depth, weight_depth, batch):
        smaller = replace(config, act_depth=depth, weight_depth=weight_depth)
        try:
            program = compile_graph(case.graph, smaller, batch=batch, traced=traced)
        except CompileError as error:
            assert any(text in str(error) for text in REFUSALS), error
            assume(False)
        count = len(next(iter(case.codes.values())))
        expected = run_codes(case.graph, case.codes, trace=True)
        chosen = [index % count for index in range(batch)]
        codes = {name: images[chosen] for name, images in case.codes.items()}
        for tensor, found in run_program(program, codes).items():
            assert np.array_equal(found, expected[tensor][chosen].reshape(found.shape)), tensor
        counts["run"] += 1

    check()
    assert counts["run"]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("weight_depth", [2, 4, 16])
def test_weights_in_parts(weight_depth, batch):
    """Filter groups of 27 and 30 words: every position's sums stay while parts are loaded."""
    net = image(12)
    net.conv("conv", (9, 12, 3, 3), 2, padding=(1, 1, 1, 1)).requantize("a", 6, True)
    net.conv("depthwise", (9, 1, 5, 5), 2, stride=(1, 2), padding=(2, 2, 2, 2), groups=9)
    net.requantize("b", 6, True)
    net.add(AvgPool2d, "average", kernel=(6, 4), stride=(6, 4), multiplier=171, shift=12,
            acc_bits=48).requantize("c", 8, True)  # fmt: skip
    net.add(Flatten, "flat").linear("linear", 5, 2).requantize("d", 8, True)
    program = compare(net.graph(), replace(CONFIG, weight_depth=weight_depth), batch=batch)
    parts = [command for command in computes(program) if command.adds]
    assert {command.unit for command in parts} == {Unit.ARRAY, Unit.SUM}
    assert any(command.adds == 3 for command in parts)
    assert all(command.positions <= command.pixels for command in parts)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_dilated_depthwise_rows(dilation, stride):
    """Several taps in a step are beside each other; those of a dilated window are not."""
    config = VERILATED["scale_32"]
    net = image(9, 6, 30)
    net.conv("conv", (9, 1, 3, 3), 2, groups=9, dilation=(1, dilation), stride=(1, stride),
             padding=(1, dilation, 1, dilation)).requantize("a", 8, True)  # fmt: skip
    steps = {command.kernel_w for command in computes(compare(net.graph(), config))}
    assert steps == ({1} if dilation == stride == 1 else {3})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (70, 1, 1), (1, 1, 70), (65, 2, 1), (2, 3, 30), (66, 2, 3)]
)
def test_layers_behind_a_flattened_map(shape, batch):
    """Its positions are features then: each has its own factor, and they can be joined."""
    net = image(*shape)
    net.add(Flatten, "flat").requantize("scaled", 8, True, exponent=0)
    net.add(Clip, "clip", input="flat", low=-20, high=90)
    net.add(Concat, "both", operands=("scaled", "flat"))
    net.add(Add, "sum", operands=("clip", "flat"), shifts=(0, 0), acc_bits=24)
    net.requantize("total", 8, True)
    net.add(Unflatten, "pixels", input="flat", shape=(int(np.prod(shape)), 1, 1))
    net.add(Clip, "again", low=0, high=9)
    net.add(Unflatten, "turned", input="flat", shape=shape[::-1]).add(Clip, "last", low=-9, high=9)
    net.add(Unflatten, "same", input="flat", shape=shape).add(Clip, "same clip", low=-9, high=9)
    outputs = ("both", "total", "again", "last", "same clip")
    program = compare(net.graph(*outputs), replace(CONFIG, act_depth=2048), batch=batch)
    vectors = [layer.name for layer in program.layers].count("flat")
    # It is made once for an image, and not where it is one.
    assert vectors == (batch if shape[1:] != (1, 1) else 0)


def test_a_linear_layer_reads_a_map_that_is_flattened_as_it_is():
    net = image(3, 4, 5)
    net.add(Flatten, "flat").linear("linear", 5, 2).requantize("a", 8, True)
    net.nodes.append(replace(net.nodes[1], name="again"))
    net.requantize("factors", 8, True).linear("behind", 5, 2).requantize("b", 8, True)
    program = compare(net.graph("a", "b"))
    assert [layer.name for layer in program.layers] == ["linear", "again", "factors", "behind"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_kernels_of_more_than_255_rows_or_columns(turned, batch):
    """Of sums in parts that are added, of maxima in windows of windows."""

    def axes(down, across):
        return (across, down) if turned else (down, across)

    def around(before, after):
        return (0, before, 0, after) if turned else (before, 0, after, 0)

    net = image(3, *axes(520, 2))
    net.conv("conv", (5, 3, *axes(300, 1)), 2, stride=axes(60, 1), padding=around(150, 149))
    net.requantize("a", 8, True)
    net.conv("depthwise", (3, 1, *axes(511, 2)), 2, groups=3, input="image")
    net.requantize("b", 8, True)
    for name, kernel, stride, padding in (
        ("c", (256, 1), (7, 1), (0, 0)),
        ("d", (515, 2), (4, 1), (128, 250)),
        ("e", (520, 1), (1, 1), (0, 0)),
        ("f", (520, 2), (1, 1), (0, 0)),
    ):
        window = {"kernel": axes(*kernel), "stride": axes(*stride), "padding": around(*padding)}
        net.add(MaxPool2d, name, input="image", **window)
    net.add(Flatten, "flat", input="image").linear("linear", 5, 2).requantize("g", 8, True)
    config = replace(CONFIG, act_depth=16384, weight_depth=2048)
    compare(net.graph("a", "b", "c", "d", "e", "f", "g"), config, batch=batch)


def test_weights_in_too_many_parts():
    net = image(64, 40, 40)
    net.conv("conv", (64, 64, 3, 3), 2).requantize("a", 8, True)
    small = replace(CONFIG, weight_depth=2)
    with pytest.raises(CompileError, match=r"layer conv: 144 words of weights .* at most 65535"):
        compile_graph(net.graph(), small)


def test_no_zeros_are_multiplied():
    """A transposed convolution takes as many steps as it has useful products."""
    net = image(8)
    net.add(ConvTranspose2d, "up", **net.weights((8, 8, 4, 4), 2), stride=(2, 2),
            padding=(1, 1, 1, 1)).requantize("a", 8, True)  # fmt: skip
    program = compare(net.graph())
    commands = computes(program)
    assert [(c.kernel_h, c.kernel_w, c.positions) for c in commands] == [(2, 2, 42)] * 4
    assert program.layers[0].macs == 8 * 8 * 4 * 4 * 42


def names(graph):
    return [node.name for node in graph.nodes]


def checked(graph):
    small = simplified(graph, CONFIG)
    validate(small)
    compare(graph)
    return names(small)


def test_zeros_become_padding():
    net = image(3)
    net.add(Pad2d, "pad", padding=(1, 0, 2, 1), mode="constant", value=0)
    net.conv("conv", (4, 3, 3, 3), 2, padding=(1, 0, 0, 0)).requantize("a", 8, True)
    assert "pad" not in checked(net.graph())
    assert "pad" in checked(net.graph("pad", "a"))


@pytest.mark.parametrize(
    ("padding", "becomes"), [((1, 2, 1, 2), True), ((0, 0, 2, 0), False), ((0, 3, 0, 0), False)]
)
def test_zeros_become_padding_of_a_pool(padding, becomes):
    """Unless a window could be nothing but padding."""
    net = image(3).add(Pad2d, "pad", padding=padding, mode="constant", value=0)
    net.add(AvgPool2d, "pool", kernel=(2, 3), stride=(1, 1), padding=(0, 0, 0, 0), multiplier=1,
            shift=2, acc_bits=48).requantize("a", 8, True)  # fmt: skip
    assert ("pad" not in checked(net.graph())) == becomes


def test_the_same_for_all_positions_is_done_before_flattening():
    """So it costs nothing; a factor of each feature does."""
    net = image(3)
    net.add(Flatten, "flat").add(Clip, "clip", low=0, high=90)
    net.add(Requantize, "scaled", multiplier=np.arange(1, 4).repeat(42), bias=np.full(126, 5),
            shift=np.arange(3).repeat(42), bits=8, signed=True, exponent=-4, low=-128,
            high=127)  # fmt: skip
    net.linear("linear", 5, 2).requantize("a", 8, True)
    config = VERILATED["scale_32"]
    small = simplified(net.graph(), config)
    assert names(small) == ["image", "clip", "scaled", "scaled.flat", "linear", "a"]
    program = compare(net.graph(), config)
    assert [layer.name for layer in program.layers] == ["clip", "scaled", "linear"]
    # Another reader keeps the flattening, and so does an output.
    net.nodes.append(replace(net.nodes[4], name="second", input="flat"))
    graph = net.requantize("b", 8, True).graph("a", "b", "clip")
    assert names(simplified(graph, config))[:4] == ["image", "flat", "clip", "scaled"]
    compare(graph, config)
    scaled = net.nodes[3]
    assert scaled.name == "scaled"
    net.nodes[3] = replace(scaled, bias=np.arange(126))
    assert "clip.flat" in names(simplified(net.graph("a", "b"), config))
    compare(net.graph("a", "b"), config)


@pytest.mark.parametrize(
    ("window", "moved"),
    [({}, True), ({"groups": 2}, False), ({"groups": 4}, False), ({"dilation": (1, 2)}, False)],
)
def test_pixels_of_the_image_in_channels_are_moved_by_the_host(window, moved):
    """Where the convolution reads all channels without gaps."""
    net = image(1, 12, 12).add(SpaceToDepth, "deep", block=2)
    net.conv("conv", (4, 4 // window.get("groups", 1), 3, 3), 2, **window)
    net.requantize("a", 8, True)
    assert ("deep" not in checked(net.graph())) == moved


def test_orders_become_those_of_weights():
    net = image(9)
    net.conv("conv", (9, 9, 1, 1), 2).requantize("a", 8, True)
    net.add(Channels, "shuffled", index=np.arange(9).reshape(3, 3).T.ravel())
    net.add(Channels, "part", index=[8, 2, 1])
    net.conv("conv2", (4, 3, 3, 3), 2).requantize("b", 8, True)
    net.add(Channels, "last", index=[1, 3])
    assert checked(net.graph()) == ["image", "conv", "part", "conv2", "last"]


def test_an_order_across_groups_is_none_of_weights():
    """The filters of two groups read different channels."""
    net = image(8)
    net.conv("conv", (6, 4, 1, 1), 2, groups=2).requantize("a", 8, True)
    net.add(Channels, "shuffled", index=[0, 3, 1, 4, 2, 5])
    compare(net.graph())


def test_slices_cost_nothing():
    """Halves that begin whole words are read where they are."""
    net = image(8)
    net.conv("conv", (8, 8, 1, 1), 2).requantize("a", 8, True)
    net.add(Channels, "low", input="a", index=np.arange(4))
    net.add(Upsample2d, "up", factor=(2, 3))
    net.add(Channels, "high", input="a", index=np.arange(4, 8))
    net.add(Upsample2d, "up2", factor=(2, 3))
    net.add(Concat, "out", operands=("up2", "up"))
    program = compare(net.graph())
    assert [layer.name for layer in program.layers] == ["conv", "up", "up2"]


def test_groups_of_channels_take_their_own_steps():
    net = image(16)
    net.conv("conv", (16, 4, 3, 3), 2, groups=4).requantize("a", 8, True)
    steps = sum(c.channel_groups * 9 * c.filter_groups for c in computes(compare(net.graph())))
    # Four words of channels, of which each of two filter groups needs two.
    assert steps == 2 * 2 * 9


@pytest.mark.parametrize("depth", [128, 256, 1024])
def test_in_strips(depth):
    """Phases write the rows of a strip in turn; a flip reads strips from the last one on."""
    net = image(4, 12, 5)
    net.add(Upsample2d, "up", factor=(3, 2))
    net.add(Flip2d, "flip", vertical=True, horizontal=True)
    net.add(Pad2d, "pad", padding=(2, 1, 3, 0), mode="reflect", value=0)
    net.conv("conv", (16, 4, 1, 1), 2).requantize("a", 8, True)
    net.add(DepthToSpace, "shuffle", block=2)
    program = compare(net.graph(), replace(CONFIG, act_depth=depth))
    assert program.command_count > 100 or depth == 1024


@pytest.mark.parametrize("name", ["shift_64", "least_32", "multiply_256"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("channels", "size"), [(1, 2), (2, 3), (7, 2), (13, None)])
def test_the_first_of_the_largest_channels(name, signed, channels, size):
    """Few different codes, so that many are equal; the ends of the range; maps and vectors."""
    config = VERILATED[name]
    shape = (channels,) if size is None else (channels, size, 3)
    net = Network(seed=1)
    net.add(Input, "image", shape=shape, bits=config.act_bits, signed=signed, exponent=0)
    graph = net.add(ArgMax, "image.above1").graph()
    type_ = tensor_types(graph)["image"]
    ends = np.array([type_.low, type_.low + 1, type_.high - 1, type_.high])
    rng = np.random.default_rng(2)
    codes = np.stack(
        [
            rng.choice(ends, shape),
            rng.choice(ends[:2], shape),
            np.full(shape, type_.low),
            rng.integers(type_.low, type_.high + 1, shape),
        ]
    )
    program = compile_graph(graph, config, batch=4)
    (found,) = run_program(program, {"image": codes}).values()
    largest = codes.max(axis=1)
    first = np.full(largest.shape, channels)
    for number in reversed(range(channels)):
        first = np.where(codes[:, number] == largest, number, first)
    assert np.array_equal(found.reshape(first.shape), first)


@pytest.mark.parametrize(
    ("act_bits", "bits", "signed", "entries"),
    [
        *((16, 16, signed, 257) for signed in (True, False)),
        *((16, 12, signed, 257) for signed in (True, False)),
        *((16, 9, signed, 3) for signed in (True, False)),
        *((16, 7, signed, 128) for signed in (True, False)),
        *((9, 9, signed, 257) for signed in (True, False)),
        (12, 12, True, 257),
        (16, 8, False, 256),
        (16, 8, True, 17),
    ],
)
def test_tables_of_wide_codes(act_bits, bits, signed, entries):
    """Every code or many, one and two tables; steps between knots that are as high as can be."""
    config = replace(VERILATED["multiply_256"], act_bits=act_bits, pe="shift", weight_bits=2)
    count = min(1 << bits, 1 << 10)
    net = Network(seed=3)
    net.add(Input, "image", shape=(1, 8, count // 8), bits=bits, signed=signed, exponent=0)
    ends = [-(1 << act_bits - 1), (1 << act_bits - 1) - 1]
    for name, out_signed in (("first", True), ("second", False)):
        table = net.rng.choice(ends, entries) + (0 if out_signed else 1 << act_bits - 1)
        table[2:] = net.rng.integers(table.min(), table.max() + 1, entries - 2)
        net.add(Table, name, input="image", table=table, bits=act_bits, signed=out_signed,
                exponent=0)  # fmt: skip
    net.add(Clip, "clip", input="second", low=5, high=99)
    if act_bits == bits:
        net.add(Table, "third", input="second", table=table, bits=act_bits, signed=False,
                exponent=0)  # fmt: skip
    graph = net.graph(*dict.fromkeys(("first", "clip", net.last)))
    type_ = tensor_types(graph)["image"]
    codes = np.linspace(type_.low, type_.high, count).astype(np.int64).reshape(1, 1, 8, -1)
    program = compile_graph(graph, config, traced=True)
    expected = run_codes(graph, {"image": codes}, trace=True)
    for tensor, found in run_program(program, {"image": codes}).items():
        assert np.array_equal(found, expected[tensor].reshape(found.shape)), tensor


@pytest.mark.parametrize(("bits", "entries", "least"), [(16, 129, 8), (12, 513, 4), (9, 512, 1)])
def test_tables_that_have_other_knots(bits, entries, least):
    net = Network(seed=1).add(Input, "x", shape=(2, 2, 2), bits=bits, signed=True, exponent=0)
    net.add(Table, "f", table=np.arange(entries), bits=12, signed=False, exponent=0)
    # What reads it is looked at all the same.
    net.conv("conv", (2, 2, 1, 1), 3)
    net.requantize("out", 8, True)
    message = (
        rf"^layer f: a table of {bits}-bit codes must have 2\*\*k \+ 1 knots with k = {least}"
        rf"\.\.\.8 for act_bits = 16, not {entries} entries$"
    )
    with pytest.raises(CompileError, match=message):
        compile_graph(net.graph(), VERILATED["multiply_256"])


@pytest.mark.parametrize("groups", [1, 9])
@pytest.mark.parametrize(
    ("signed", "limits"), [(True, (-128, 127)), (False, (0, 255)), (True, (-9, 20))]
)
def test_channels_that_hardly_change(signed, limits, groups):
    """Shifts up to 39: a channel has one code below some sum and the next one from there on."""
    net = image(9).conv("conv", (9, 9 // groups, 1, 1), 3, groups=groups)
    low, high = limits
    codes = np.array([low, high, low + 1, high - 1, 6, 5, 17, low - 40, high + 40])
    shift = np.array([39, 22, 30, 24, 36, 0, 3, 20, 36])
    from_sum = np.array([3, -5, 0, 100, -100, 0, 0, 1, -1])
    bias = (codes << shift) - (1 << shift >> 1) - from_sum
    net.add(Requantize, "out", multiplier=np.ones(9, int), bias=bias, shift=shift, bits=8,
            signed=signed, exponent=0, low=low, high=high)  # fmt: skip
    graph = net.graph()
    program = compare(graph, CONFIG)
    assert [layer.name for layer in program.layers] == ["conv", "out"]
    x = np.random.default_rng(1).integers(-128, 128, (1, 9, 6, 7))
    found = run_codes(graph, {"image": x})[0]
    assert sum(len(np.unique(found[channel])) == 2 for channel in range(9)) >= 2


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_taps_of_a_dilated_window(dilation):
    """Several taps in a step lie beside each other."""
    net = image(17, 6, 17)
    net.conv("conv", (17, 1, 2, 3), 2, dilation=(1, dilation), groups=17)
    graph = net.requantize("out", 8, True).graph()
    taps = {bool(one.adds & 4) for one in computes(compare(graph, VERILATED["scale_32"]))}
    assert taps == {dilation == 1}


def test_batches_of_inputs_that_no_layer_reads():
    compare(image(3).graph(), batch=3)
    net = image(3).add(Input, "x", shape=(9,), bits=8, signed=True, exponent=0)
    net.linear("linear", 9, 2).requantize("out", 8, True)
    graph = net.graph("out", "image")
    program = compile_graph(graph, CONFIG, batch=3)
    rng = np.random.default_rng(1)
    codes = {n.name: rng.integers(-128, 128, (3, *n.shape)) for n in graph.input_nodes}
    expected = run_codes(graph, codes, trace=True)
    for name, found in run_program(program, codes).items():
        assert np.array_equal(found, expected[name].reshape(found.shape)), name


@pytest.mark.parametrize("ports", [2, 4])
def test_tables_over_several_ports(ports):
    graph = gated_network(act_bits=8, weight_bits=3, scale=False, tables=True, seed=1)
    compare(graph, replace(CONFIG, axi_ports=ports))


def test_the_largest_memory():
    """Addresses of all 16 bits: the image, which two layers read, has 40,000 words of 65,536."""
    net = image(4, 200, 200)
    for name in ("first", "second"):
        net.add(Slice2d, f"{name}.part", input="image", start=(99, 1), stride=(8, 9), size=(13, 22))
        net.conv(name, (8, 4, 2, 2), 2).requantize(f"{name}.out", 8, True)
    net.add(Concat, "both", operands=("first.out", "second.out"))
    program = compare(net.graph(), replace(CONFIG, act_depth=1 << 16))
    assert max(one.in_base for one in computes(program)) > 1 << 15


@pytest.mark.parametrize("shift", [2, 3])
def test_the_largest_factor_of_a_sum_of_three(shift):
    net = image(9)
    for name, exponent in (("a", 0), ("b", 0), ("c", shift)):
        net.conv(f"{name}.conv", (9, 9, 1, 1), 2).requantize(name, 8, True, exponent=exponent)
    net.add(Sum, "sum", operands=tuple("abc"), shifts=(0, 0, shift), signs=(1, -1, 1), acc_bits=48)
    graph = net.requantize("out", 8, True).graph()
    if shift == 2:
        compare(graph)
    else:
        with pytest.raises(CompileError, match=r"times a power of two up to 4, not c times 8$"):
            compile_graph(graph, CONFIG)


def test_a_sum_of_three_that_hardly_changes():
    """What was lowered before an addend turned out to be too large is not in the program."""
    net = image(9)
    for name in "abc":
        net.conv(f"{name}.conv", (9, 9, 1, 1), 2).requantize(name, 8, True)
    net.add(Sum, "sum", operands=tuple("abc"), shifts=(0, 0, 0), signs=(1, -1, 1), acc_bits=48)
    bias = (np.arange(9) << 36) - (1 << 35)
    net.add(Requantize, "out", multiplier=np.ones(9, int), bias=bias, shift=np.full(9, 36), bits=8,
            signed=True, exponent=0, low=-128, high=127)  # fmt: skip
    program = compare(net.graph())
    names = [layer.name for layer in program.layers]
    assert names == ["a.conv", "b.conv", "c.conv", "sum.2", "sum", "out"]


def test_more_channels_than_codes():
    message = (
        r"^tensor best: 9 bits must be at most act_bits = 8 of the configuration; ArgMax of 257 "
        r"channels needs so many; remedy: leave the arg-max to the host$"
    )
    with pytest.raises(CompileError, match=message):
        compile_graph(image(257).add(ArgMax, "best").graph(), CONFIG)
    compile_graph(image(256, 1, 1).add(ArgMax, "best").graph(), CONFIG)


def test_what_is_said_of_each_operator():
    said = {kind: support(kind) for kind in (Add, ArgMax, Conv2d, Flatten, Multiply, Table)}
    assert said == {
        Add: "yes",
        ArgMax: "yes",
        Conv2d: "yes",
        Flatten: "yes",
        Multiply: "with products",
        Table: "with tables",
    }
