"""Programs for batches: every code of every image, weights of linear layers once, refusals."""

import re
import time
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import CompileError, compile_graph, load_program, save_program
from hw.compiler import batch as batches
from hw.contract.isa import Load, Memory, read_commands
from hw.contract.memory_timing import MemoryTiming
from hw.driver import run_batch
from hw.model.traffic import layer_bytes
from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Bilinear2d,
    Clip,
    Concat,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    NbqnnError,
)
from nbqnn_train.graph.operators import Multiply
from sim.simulate import simulate_program
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, small_network, traced_codes
from tests.hw.runs import compare_groups

CONFIG = VERILATED["shift_64"]


def pooled():
    """Convolution, pooling, one linear layer; the map is also an output."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(3, 9, 8), bits=8, signed=True, exponent=0)
    net.conv("conv", (9, 3, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("map", 8, False)
    net.add(MaxPool2d, "pool", kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    net.add(Flatten, "flat").linear("linear", 10, 3)
    return net.requantize("logits", 8, True).graph("logits", "map")


def deep():
    """Three linear layers, a sum of two of them, a concatenation, a clip."""
    net = Network(seed=2)
    net.add(Input, "image", shape=(4, 6, 6), bits=8, signed=False, exponent=0)
    net.conv("conv", (8, 4, 3, 3), 3, stride=(2, 2)).requantize("map", 8, False)
    net.add(AvgPool2d, "average", kernel=(2, 2), stride=(1, 1), multiplier=1, shift=2, acc_bits=24)
    net.requantize("vector", 8, False, exponent=-2).add(Flatten, "flat")
    net.linear("one", 8, 3).requantize("a", 8, False)
    net.linear("two", 8, 2).requantize("b", 8, False, exponent=-5)
    net.add(Add, "sum", operands=("a", "b"), shifts=(1, 0), acc_bits=24).requantize("c", 8, False)
    net.add(Add, "residual", operands=("c", "flat"), shifts=(0, 2), acc_bits=24)
    net.requantize("d", 8, False).add(Concat, "both", operands=("d", "a"))
    net.add(Clip, "clip", low=2, high=200)
    net.linear("three", 5, 3)
    return net.requantize("logits", 8, True).graph("logits", "clip")


def linear_only():
    """Vectors from the start, more of them than one filter group's weights fit."""
    net = Network(seed=3)
    net.add(Input, "image", shape=(50,), bits=8, signed=True, exponent=0)
    net.linear("one", 40, 3).requantize("a", 8, False)
    net.linear("two", 20, 3)
    return net.requantize("logits", 8, True).graph()


def shared_maps():
    """A map that a sum, a convolution and two linear layers read."""
    net = Network(seed=4)
    net.add(Input, "image", shape=(5, 5, 6), bits=8, signed=True, exponent=-4)
    net.conv("conv", (5, 5, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("a", 8, True)
    net.add(Add, "sum", operands=("a", "image"), shifts=(0, 0), acc_bits=24)
    net.requantize("b", 8, True)
    net.conv("other", (3, 5, 3, 3), 3, padding=(0, 2, 1, 1), input="a").requantize("map", 8, False)
    net.add(Flatten, "flat_b", input="b").linear("first", 6, 3).requantize("x", 8, True)
    net.add(Flatten, "flat_a", input="a").linear("second", 6, 3).requantize("y", 8, True)
    net.add(Add, "join", operands=("x", "y"), shifts=(0, 0), acc_bits=24)
    return net.requantize("logits", 8, True).graph("logits", "map", "b")


GRAPHS = {graph.__name__: graph() for graph in (pooled, deep, linear_only, shared_maps)}


def heavy_at_the_end():
    """Small maps and many weights: a residual, a concatenation, factors of channels, a maximum."""
    net = Network(seed=5)
    net.add(Input, "image", shape=(3, 12, 10), bits=8, signed=True, exponent=0)
    net.conv("first", (5, 3, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("a", 8, False)
    net.conv("second", (16, 5, 3, 3), 3, stride=(4, 4), padding=(1, 1, 1, 1))
    net.requantize("b", 8, False)
    net.conv("third", (16, 16, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("c", 8, False)
    net.add(Add, "residual", operands=("c", "b"), shifts=(0, 0), acc_bits=24)
    net.requantize("d", 8, False, exponent=-2)
    size = {"kernel": (3, 3), "stride": (3, 3), "padding": (0, 0, 0, 0)}
    net.add(AvgPool2d, "average", **size, multiplier=1, shift=3, acc_bits=24)
    net.requantize("e", 8, False).conv("gate", (16, 16, 1, 1), 3).requantize("f", 8, False)
    net.add(Multiply, "product", operands=("d", "f"), acc_bits=24)
    net.requantize("g", 8, False, exponent=-2)
    net.conv("depthwise", (16, 1, 3, 3), 3, padding=(1, 1, 1, 1), groups=16, input="d")
    net.requantize("h", 8, False, exponent=-2).add(Concat, "both", operands=("g", "h"))
    net.conv("last", (20, 32, 3, 2), 3, padding=(1, 0, 1, 0)).requantize("i", 8, True)
    net.add(MaxPool2d, "largest", kernel=(3, 1), stride=(1, 1), padding=(1, 0, 1, 0))
    net.add(Flatten, "flat").linear("linear", 10, 3)
    return net.requantize("logits", 8, True).graph("logits", "i", "c")


@pytest.mark.parametrize("batch", [2, 5])
def test_weights_of_the_last_layers_once(accelerator_model, monkeypatch, batch):
    """Image after image with each load; where the maps do not all fit, fewer layers do that."""
    graph = heavy_at_the_end()
    # As if the memory were slow.
    monkeypatch.setattr(batches, "weight_cycles", lambda _, one: 10**4 * (one.name != "first"))
    alone = weight_bytes(compile_graph(graph, CONFIG))
    program = compile_graph(graph, CONFIG, batch=batch, traced=True)
    once = {layer.name for layer in program.layers if layer.image is None} - {"linear"}
    assert "last" in once
    assert ("second" in once) == (batch == 2)
    assert "first" not in once
    together = weight_bytes(program)
    for name in alone:
        # Alone, the last one runs in tiles of rows.
        assert together[name] <= (1 if name in {"linear", *once} else batch) * alone[name], name
    macs = program.per_image({"macs": layer.macs} for layer in program.layers)
    assert macs["last"]["macs"] == 20 * 32 * 6 * 3 * 2
    x = images(graph, batch + 1)
    driver = driver_of(accelerator_model(CONFIG), program, stall_rate=0.2)
    compare_groups(driver, x, traced_codes(graph, x))


def test_weights_that_several_parts_read_and_that_do_not_stay(accelerator_model, monkeypatch):
    """The parts of an interpolation: some far apart read the same weights. Such loads waited for
    commands behind them."""
    config = VERILATED["scale_32"]
    net = Network(seed=6)
    net.add(Input, "image", shape=(8, 2, 7), bits=4, signed=False, exponent=0)
    net.add(Bilinear2d, "larger", factor=(4, 4), acc_bits=24)
    graph = net.requantize("out", 4, False).graph()
    monkeypatch.setattr(batches, "weight_cycles", lambda *_: 10**4)
    program = compile_graph(graph, replace(config, weight_depth=16), batch=2)
    assert program.layers[0].image is None
    parts = Counter(
        (command.offset, command.region)
        for command in read_commands(program.commands)
        if isinstance(command, Load) and command.memory == Memory.WEIGHT
    )
    assert max(parts.values()) > 1
    x = images(graph, 3)
    compare_groups(driver_of(accelerator_model(config), program), x, traced_codes(graph, x))


def driver_of(model, program, **timing):
    """On the model, also of a program that was compiled for a smaller memory."""
    driver, _ = model.driver(replace(program, config=model.config), timing=MemoryTiming(**timing))
    return driver


@pytest.mark.parametrize("name", GRAPHS)
def test_every_code_of_every_image(accelerator_model, name):
    """In memories for all, for some and for one of the images; the last run lacks some."""
    graph = GRAPHS[name]
    x = images(graph, 11)
    expected = traced_codes(graph, x)
    for batch, depth, stall_rate in ((1, 1024, 0), (2, 1024, 0.3), (3, 128, 0.0), (8, 1024, 0.0)):
        config = replace(CONFIG, act_depth=depth)
        program = compile_graph(graph, config, batch=batch, traced=batch != 2)
        driver = driver_of(accelerator_model(CONFIG), program, stall_rate=stall_rate)
        compare_groups(driver, x[: batch + 3], expected)


@pytest.mark.parametrize(("name", "batch"), [("scale_32", 2), ("scale_32", 8), ("multiply_256", 3)])
def test_every_kind_of_layer(accelerator_model, name, batch):
    """Three and four positions at once, multipliers in the requantizers, wide ports."""
    config = VERILATED[name]
    graph = small_network(
        act_bits=config.act_bits, weight_bits=config.weight_bits, scale=config.requant == "scale"
    )
    program = compile_graph(graph, config, batch=batch, traced=True)
    x = images(graph, batch + 1)
    driver = driver_of(accelerator_model(config), program, stall_rate=0.2)
    compare_groups(driver, x, traced_codes(graph, x))


def weight_bytes(program):
    """What is loaded for the layers' weights and parameters, by layer."""
    loaded = Counter()
    for command in read_commands(program.commands):
        if isinstance(command, Load) and command.memory != Memory.ACT:
            name = program.layers[command.layer].name
            loaded[name] += command.rows * command.beats * program.config.axi_beat_bits // 8
    return loaded


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_of_linear_layers_once(name):
    graph = GRAPHS[name]
    one, eight = (compile_graph(graph, CONFIG, batch=batch) for batch in (1, 8))
    alone, together = weight_bytes(one), weight_bytes(eight)
    assert one.parameters == eight.parameters
    for layer in alone:
        runs = {passed.image for passed in eight.layers if passed.name == layer}
        assert runs == ({None} if isinstance(graph[layer], Linear) else runs)
        assert together[layer] == len(runs) * alone[layer], layer
    # What a run moves besides weights is eight times that of one image.
    moved = [sum(layer_bytes(program)) - sum(weight_bytes(program).values())
             for program in (one, eight)]  # fmt: skip
    assert eight.scratch_bytes or moved[1] == 8 * moved[0]


def test_runs_of_the_driver(accelerator_model, tmp_path):
    """From a file; any number of images; one line for a wrong batch."""
    graph = GRAPHS["deep"]
    path = tmp_path / "program"
    save_program(compile_graph(graph, CONFIG, batch=4), path)
    program = load_program(path)
    assert program == compile_graph(graph, CONFIG, batch=4)
    driver = driver_of(accelerator_model(CONFIG), program)
    x = images(graph, 6)
    steps = []
    result = run_batch(driver, x, lambda done, total: steps.append((done, total)))
    assert steps == [(4, 6), (6, 6)]
    assert len(result.runs) == 2
    expected = traced_codes(graph, x)
    for name, codes in result.outputs.items():
        wanted = np.stack([one[name] for one in expected])
        assert np.array_equal(codes, wanted.reshape(codes.shape))
    # Fewer than the batch, and one without its axis: as many results as images.
    for few in (x[:3], x[:1], x[0]):
        for name, codes in driver.run(few).outputs.items():
            assert len(codes) == few.size // x[0].size
            assert np.array_equal(codes, result.outputs[name][: len(codes)])
    for wrong in (x[:5], x[:0]):
        message = f"images must be 1...4, the program's batch, not {len(wrong)}"
        with pytest.raises(NbqnnError, match=f"^{re.escape(message)}$"):
            driver.run(wrong)


def test_a_batch_of_one_is_no_batch(tmp_path):
    graph = GRAPHS["pooled"]
    files = [tmp_path / "plain", tmp_path / "one"]
    save_program(compile_graph(graph, CONFIG), files[0])
    save_program(compile_graph(graph, CONFIG, batch=1), files[1])
    plain, one = (file.read_bytes() for file in files)
    assert plain == one
    assert b"batch" not in plain


def test_a_number_of_numpy(tmp_path):
    """As one that was computed: the program is that of the plain number."""
    config = VERILATED["shift_64"]
    graph = small_network(act_bits=8, weight_bits=config.weight_bits, scale=False)
    for name, batch in (("numpy", np.int64(2)), ("plain", 2)):
        save_program(compile_graph(graph, config, batch=batch), tmp_path / name)
    assert (tmp_path / "numpy").read_bytes() == (tmp_path / "plain").read_bytes()


def test_too_many_layers_that_run_once():
    net = Network(seed=1).add(Input, "x", shape=(2,), bits=8, signed=True, exponent=0)
    net.linear("linear0", 2, 2).requantize("out0", 8, True)
    linear, requantize = net.nodes[1:]
    for number in range(1, 257):
        net.nodes += [
            replace(linear, name=f"linear{number}", input=f"out{number - 1}"),
            replace(requantize, name=f"out{number}", input=f"linear{number}"),
        ]
    graph = net.graph()
    message = r"^layer linear256: it is number 257 of 257 layers, and at most 256 fit; remedy: two"
    for batch in (2, 300):
        with pytest.raises(CompileError, match=message):
            compile_graph(graph, CONFIG, batch=batch)


def test_what_does_not_fit():
    graph = GRAPHS["deep"]
    for batch in (0, -1, 1.5, 1 << 16, 100_000_000):
        with pytest.raises(
            CompileError, match=rf"^batch must be 1\.\.\.65535 images, not {batch!r}$"
        ):
            compile_graph(graph, CONFIG, batch=batch)
    with pytest.raises(
        CompileError,
        match=r"^layer conv of image 129: it is number 257 of 306 layers, and at most 256 fit; "
        r"remedy: --batch 125$",
    ):
        compile_graph(graph, CONFIG, batch=150)
    # Said before anything is made for each of the images.
    started = time.monotonic()
    with pytest.raises(CompileError, match=r" layers, and at most 256 fit; remedy: --batch 125$"):
        compile_graph(graph, CONFIG, batch=65_535)
    assert time.monotonic() - started < 5
    # Two rows of one image, whatever the batch.
    graph = GRAPHS["pooled"]
    for batch in (1, 5):
        with pytest.raises(
            CompileError,
            match=r"^layer pool: 8[47] words of input and output for one row must fit "
            r"act_depth = 64, which is short by 2[03]$",
        ):
            compile_graph(graph, replace(CONFIG, act_depth=64), batch=batch)


def test_damaged_batches(tmp_path):
    """Numbers in the file that do not go together."""
    path = tmp_path / "program"
    save_program(compile_graph(GRAPHS["pooled"], CONFIG, batch=2), path)
    for old, new, message in (
        (b'"batch": 2', b'"batch": 0', "field 'batch' must be 1...65535, not 0"),
        (b'"batch": 2', b'"batch": 3', "port 'image' must be laid out for"),
        (b'"image": 1', b'"image": 2', "field 'image' must be 0...1, not 2"),
    ):
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        assert old in entries["program.json"]
        entries["program.json"] = entries["program.json"].replace(old, new, 1)
        damaged = tmp_path / "damaged"
        with zipfile.ZipFile(damaged, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        with pytest.raises(NbqnnError, match=re.escape(message)):
            load_program(damaged)


def test_simulate_a_batch():
    """Cycles, model and differences are said by image and by layer."""
    graph = GRAPHS["pooled"]
    program = compile_graph(graph, CONFIG, batch=3)
    x = images(graph, 5)
    result = simulate_program(program, x)
    assert (result.images, result.mismatches, result.batch) == (5, 0, 3)
    assert [layer.name for layer in result.layers] == ["conv", "pool", "linear"]
    alone = simulate_program(compile_graph(graph, CONFIG), x[:1])
    assert result.cycles_per_image < alone.cycles_per_image
    for found, wanted in zip(result.layers, alone.layers, strict=True):
        assert found.macs == wanted.macs
    assert sum(layer.cycles for layer in result.layers) < result.cycles_per_image
    assert result.estimated_cycles == pytest.approx(result.cycles_per_image, rel=0.15)
    # A wrong weight of the last layer, and the second image of the second run is the first to show.
    damaged = bytearray(program.parameters)
    damaged[-200:] = bytes(200)
    wrong = simulate_program(replace(program, parameters=bytes(damaged)), x)
    assert wrong.mismatches == 1
    first = wrong.first_mismatch
    assert first.layer == "linear"
    assert first.expected != first.actual
    begin, end = first.cycles
    assert 0 < begin < end
