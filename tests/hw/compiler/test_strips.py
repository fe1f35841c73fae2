"""hw.compiler: concatenations in strips, positions abreast, and rows that strips write."""

from dataclasses import replace

import numpy as np
import pytest

from hw import compiler
from hw.compiler import CompileError, compile_graph
from hw.compiler.fused import fused
from hw.compiler.lower.lower import lower
from hw.compiler.schedule import Schedule
from hw.contract.isa import Compute, Store, read_commands
from nbqnn_train.graph import (
    Concat,
    ConvTranspose2d,
    DepthToSpace,
    Input,
    MaxPool2d,
    SpaceToDepth,
    run_codes,
)
from tests.hw.accelerators import VERILATED
from tests.hw.machine import run_program
from tests.hw.networks import Network

CONFIG = VERILATED["scale_32"]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Strips are tried for small maps, too."""
    monkeypatch.setattr(compiler.strips, "_LEAST_SAVED", -(10**9))


def network(height, width, channels=3, seed=3):
    return Network(seed=seed, scale=True).add(
        Input, "image", shape=(channels, height, width), bits=8, signed=False, exponent=-8
    )


def conv(net, name, outputs, inputs, size=3):
    before = size // 2
    net.conv(name, (outputs, inputs, size, size), 2, padding=(before,) * 4)
    return net.requantize(f"{name}.out", 8, False)


def enlarged(net, name, outputs, inputs):
    net.add(
        ConvTranspose2d, name, stride=(2, 2), padding=(0, 0, 0, 0), output_padding=(0, 0),
        dilation=(1, 1), groups=1, **net.weights((outputs, inputs, 2, 2), 2),
    )  # fmt: skip
    return net.requantize(f"{name}.out", 8, False)


def unet(skip=4, up=4, height=16, width=8):
    """A map that is pooled and joined again; its strips are those of the concatenation."""
    net = network(height, width)
    conv(net, "first", skip, 3)
    net.add(MaxPool2d, "pool", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    conv(net, "inner", 8, skip)
    enlarged(net, "up", up, 8)
    net.add(Concat, "cat", operands=("first.out", "up.out"))
    conv(net, "join", 6, skip + up)
    return conv(net, "last", 2, 6, 1).graph()


def exact(graph, config, **options):
    """Compiles and runs an image; every code of the outputs is the interpreter's."""
    program = compile_graph(graph, config, **options)
    (node,) = graph.input_nodes
    codes = np.random.default_rng(1).integers(0, 256, (program.batch, *node.shape))
    expected = run_codes(graph, {node.name: codes}, trace=True)
    for name, found in run_program(program, {node.name: codes}).items():
        assert np.array_equal(found, expected[name].reshape(found.shape)), name
    return program


def counted(program):
    names = [layer.name for layer in program.layers]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize(("skip", "up"), [(4, 4), (8, 6), (16, 8)])
def test_a_concatenation_in_strips(skip, up):
    """No layer copies it: one operand is loaded into strips that the other one is computed into."""
    program = exact(unet(skip, up), replace(CONFIG, act_depth=256))
    layers = counted(program)
    assert "cat" not in layers
    assert layers["up"] == layers["join"] > 1, layers
    stored = [
        one.words * one.rows
        for one in read_commands(program.commands)
        if isinstance(one, Store) and program.layers[one.layer].name == "first"
    ]
    # Strips overlap, but each row is stored once.
    assert sum(stored) == 16 * 8 * -(-skip // CONFIG.lanes)


@pytest.mark.parametrize("strips", [2, 3, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (1, 2, (0, 0)),
        (1, 3, (0, 0)),
        (2, 3, (1, 0)),
        (3, 5, (0, 0)),
        (1, 2, (-3, 0)),
        (2, 2, (0, 0)),
    ],
)
@pytest.mark.parametrize("height", [15, 16])
def test_rows_that_the_next_layer_leaves_out_are_there_for_others(
    kernel, stride, padding, height, strips
):
    """As of a map that a shortcut of 1 x 1 with steps of two reads first."""
    net = network(height, 8)
    conv(net, "first", 4, 3)
    net.conv("shortcut", (4, 4, kernel, 1), 2, stride=(stride, 1),
             padding=(max(0, padding[0]), 0, padding[1], 0)).requantize("a", 8, False)  # fmt: skip
    net.conv("other", (4, 4, 3, 3), 2, padding=(1, 1, 1, 1), input="first.out")
    graph = net.requantize("b", 8, False).graph("a", "b")
    whole = lower(graph, CONFIG)
    if padding[0] < 0:  # begins inside the map, as a slice does
        layers = [
            replace(layer, padding=(padding[0], 0, 0, 0)) if layer.name == "shortcut" else layer
            for layer in whole.layers
        ]
        whole = replace(whole, layers=tuple(layers))
    cut = fused(CONFIG, whole, {"first.out": strips})
    written = [row for moved in cut.kept.values() for row in moved.rows]
    assert written == list(range(height))
    for name, moved in cut.kept.items():
        assert moved.rows.stop <= moved.first + cut.shapes[name][1]
    exact(graph, replace(CONFIG, act_depth=64))


def test_one_program_where_nothing_is_in_doubt(monkeypatch):
    """Where no map has to leave the chip, nothing is decided, and nothing compiled twice."""
    made = []
    run = Schedule.run
    monkeypatch.setattr(Schedule, "run", lambda *given: made.append(given) or run(*given))
    exact(unet(), CONFIG)
    assert len(made) == 1


def test_an_operand_inside_a_word_is_copied():
    """What begins in the middle of a word cannot be loaded beside others."""
    net = network(16, 8)
    conv(net, "first", 4, 3)
    net.add(MaxPool2d, "pool", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    conv(net, "inner", 8, 4)
    enlarged(net, "up", 4, 8)
    net.add(Concat, "cat", operands=("up.out", "first.out"))
    conv(net, "join", 6, 8)
    assert "cat" in counted(exact(net.graph(), replace(CONFIG, act_depth=128)))


@pytest.mark.parametrize("height", [17, 19, 25])
def test_strips_end_where_tiles_do_not(height):
    """The last layer's rows are stored in tiles: none has rows of another strip."""
    net = network(height, 4)
    for number, inputs in enumerate((3, 16, 16)):
        conv(net, f"conv{number}", 16, inputs)
    program = exact(net.graph(), replace(CONFIG, act_depth=128))
    assert min(counted(program).values()) > 1


def test_positions_abreast():
    """Two positions of four channels fill a word of eight: a window of three takes two steps."""
    net = network(6, 8)
    conv(net, "first", 4, 3)
    conv(net, "second", 6, 4)
    program = exact(net.graph(), CONFIG)
    commands = read_commands(program.commands)
    computes = [one for one in commands if isinstance(one, Compute)]
    second = [one for one in computes if program.layers[one.layer].name == "second"]
    assert [(one.kernel_w, one.in_width, one.out_step) for one in second] == 2 * [(2, 4, 2)]
    # What is traced is stored as it is.
    exact(net.graph(), CONFIG, traced=True)


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "padding"),
    [(8, 5, 1, (2, 2)), (8, 3, 2, (1, 0)), (12, 4, 3, (0, 2)), (8, 2, 1, (3, 1))],
)
def test_windows_over_positions_abreast(monkeypatch, width, kernel, stride, padding):
    """Whatever the window, whether it is faster so or not."""
    monkeypatch.setattr(compiler.abreast, "compute_cycles", lambda config, layer: -len(layer.more))
    net = network(5, width)
    conv(net, "first", 2, 3)
    window = {"stride": (1, stride), "padding": (1, padding[0], 1, padding[1])}
    net.conv("second", (9, 2, 3, kernel), 2, **window).requantize("out", 8, True)
    program = exact(net.graph(), CONFIG)
    assert {port.name for port in program.outputs} == {"out"}
    commands = [one for one in read_commands(program.commands) if isinstance(one, Compute)]
    assert any(one.in_width == width // 4 for one in commands)


@pytest.mark.parametrize("kind", [DepthToSpace, SpaceToDepth])
def test_order_of_positions_abreast(monkeypatch, kind):
    """Pixel shuffle and its reverse read words of which the map has some lanes."""
    monkeypatch.setattr(compiler.abreast, "compute_cycles", lambda config, layer: -len(layer.more))
    net = network(4, 8)
    conv(net, "first", 4, 3)
    net.add(kind, "moved", block=2)
    conv(net, "last", 3, 1 if kind is DepthToSpace else 16)
    program = exact(net.graph(), CONFIG)
    commands = [one for one in read_commands(program.commands) if isinstance(one, Compute)]
    assert any(one.in_width == 4 for one in commands)


@pytest.mark.parametrize("batch", [2, 3])
def test_the_strips_of_each_image(batch):
    """A batch has strips, too: of every image the same, one image after the other."""
    net = network(25, 4)
    for number, inputs in enumerate((3, 16, 16)):
        conv(net, f"conv{number}", 16, inputs)
    graph, config = net.graph(), replace(CONFIG, act_depth=128)
    alone = exact(graph, config)
    program = exact(graph, config, batch=batch)
    assert program.scratch_bytes == alone.scratch_bytes == 0
    assert counted(program) == {name: batch * count for name, count in counted(alone).items()}
    images = [layer.image for layer in program.layers]
    assert images == sorted(images)


def test_what_is_needed_later_has_no_strips_in_a_batch():
    """Neither a map that is stored beside its strips nor a concatenation."""
    graph, config = unet(), replace(CONFIG, act_depth=256)
    layers = counted(exact(graph, config, batch=2))
    assert layers["first"] == layers["pool"] == 2
    assert layers["join"] == 2


@pytest.mark.parametrize("refused", [(False,), (True,), (False, True)])
def test_ways_that_are_refused(monkeypatch, refused):
    """The other one is taken; if there is none, the first one's reason is given."""
    chosen = compiler.strips.Strips._chosen

    def choose(strips, answers):
        strips.doubted = True
        if strips.counting in refused:
            raise CompileError(f"refused, counting {strips.counting}")
        return chosen(strips, answers)

    monkeypatch.setattr(compiler.strips.Strips, "_chosen", choose)
    config = replace(CONFIG, act_depth=256)
    if len(refused) == 1:
        exact(unet(), config)
    else:
        with pytest.raises(CompileError, match="counting False"):
            compile_graph(unet(), config)
