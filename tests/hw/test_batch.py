"""Programs for batches: every code of every image, weights of linear layers once, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import CompileError, compile_graph, load_program, save_program
from hw.driver import run_batch
from hw.traffic import layer_bytes
from nbqnn_train.graph import Add, AvgPool2d, Clip, Concat, Flatten, Input, MaxPool2d, NbqnnError
from sim.verilated import MemoryTiming
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, images, small_network, traced_codes

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


def check(model, program, graph, count, seed=1, **timing):
    """Runs ``count`` images and compares every tensor that comes back, image by image."""
    program = replace(program, config=model.config)
    driver, _ = model.driver(program, timing=MemoryTiming(**timing))
    x = images(graph, count, seed)
    expected = traced_codes(graph, x)
    for begin in range(0, count, program.batch):
        group = x[begin : begin + program.batch]
        result = driver.run(group if program.batch > 1 else group[0])
        assert result.array_cycles + sum(result.stalls.values()) == result.cycles
        for name, codes in {**result.traced, **result.outputs}.items():
            found = codes if program.batch > 1 else codes[None]
            assert len(found) == program.batch
            for image, one in enumerate(found):
                wanted = expected[begin + image][name].reshape(one.shape)
                assert np.array_equal(one, wanted), (name, image, program.batch)
    return result


@pytest.mark.parametrize("name", GRAPHS)
def test_every_code_of_every_image(accelerator_model, name):
    graph = GRAPHS[name]
    for batch, depth, stall_rate in ((1, 1024, 0), (2, 1024, 0.3), (3, 128, 0.0), (8, 1024, 0.0)):
        program = compile_graph(
            graph, replace(CONFIG, act_depth=depth), batch=batch, traced=batch != 2
        )
        assert program.batch == batch
        check(accelerator_model(CONFIG), program, graph, 3 * batch, stall_rate=stall_rate)
