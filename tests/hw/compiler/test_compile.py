"""hw.compiler: what it refuses and how; equal input gives equal bytes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import CompileError, compile_graph, save_program
from hw.contract.isa import Compute, Opcode, read_commands
from nbqnn_train.graph import (
    Add,
    Clip,
    Conv2d,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    RegionMax2d,
    Table,
)
from tests.hw.accelerators import VERILATED
from tests.hw.machine import run_program
from tests.hw.networks import Network, small_network

TINY = PRESETS["tiny"]


def one_layer(shape=(3, 6, 6), weight=None, bits=8, weight_bits=3, **fields):
    """An input, a convolution with these weights (by default ones) and a requantizer."""
    weight = np.ones((2, shape[0], 3, 3), int) if weight is None else weight
    net = Network(seed=1)
    net.add(Input, "image", shape=shape, bits=bits, signed=True, exponent=0)
    exponents = np.zeros(len(weight), int)
    options = {"weight": weight, "weight_bits": weight_bits, "weight_exponent": exponents}
    net.add(Conv2d, "conv", **options, acc_bits=48, **fields)
    return net.requantize("out", min(bits, 8), True)


def refused(net, config, message):
    with pytest.raises(CompileError, match=f"^{message}$"):
        compile_graph(net.graph(), config)


def test_weights_too_wide():
    refused(
        one_layer(weight_bits=4),
        TINY,
        "layer conv: 4-bit weights must be of at most weight_bits = 3 of the configuration",
    )


def test_activations_too_wide():
    refused(
        one_layer(bits=12),
        replace(TINY, acc_bits=30),
        "tensor image: 12 bits must be at most act_bits = 8 of the configuration; remedy: "
        "a configuration with act_bits = 12, or fewer bits when quantizing",
    )


@pytest.mark.parametrize("pe", ["shift", "multiply"])
def test_accumulator_too_narrow(pe):
    """At the largest sum that fits, and one above it."""
    config = replace(TINY, pe=pe, acc_bits=16)
    # 128 * 64 * 4 is 2**15: just too much; signs decide on which side.
    for weights, bound in ((255, None), (256, 32768)):
        weight = np.zeros((1, 64, 2, 2), int)
        weight.reshape(-1)[:weights] = -1 if pe == "multiply" else 1
        net = one_layer((64, 4, 4), weight)
        if bound is None or pe == "shift":
            # -128 * 256 is the end of the range and still fits.
            compile_graph(net.graph(), config)
            continue
        refused(
            net,
            config,
            f"layer conv: sums up to {bound} need 17 accumulator bits, more than acc_bits = 16 "
            "of the configuration",
        )


def test_activation_memory_too_small():
    """Where not even one row of output and the rows that it reads fit."""
    net = one_layer((9, 14, 14))
    compile_graph(net.graph(), replace(TINY, act_depth=128))
    # Three rows of 14 columns, two words deep, and an output row of 12.
    refused(
        net,
        replace(TINY, act_depth=64),
        "layer conv: 96 words of input and output for one row must fit act_depth = 64, "
        "which is short by 32",
    )


def test_weight_memory_too_small():
    """Weights come in parts, but no memory holds commands for all of these."""
    net = one_layer((8, 6, 6))
    compile_graph(net.graph(), replace(TINY, weight_depth=8))
    net = one_layer((8, 90, 90))
    refused(
        net,
        replace(TINY, weight_depth=2, act_depth=1 << 15),
        "layer conv: 9 words of weights of one filter group need 69696 commands with "
        "weight_depth = 2; a program has at most 65535",
    )


def test_parameter_memory_too_small():
    refused(
        one_layer(),
        replace(TINY, post_lanes=1, param_depth=4),
        "layer conv: 8 words of parameters of one filter group must fit param_depth = 4, "
        "which is short by 4",
    )


def test_multipliers_in_shift_mode():
    net = one_layer()
    net.nodes[-1] = replace(net.nodes[-1], multiplier=[1, 3])
    refused(
        net,
        TINY,
        "layer conv: multiplier of channel 1 must be a power of two up to 16 in a configuration "
        "with requant = shift, not 3",
    )


def test_all_that_is_unsupported_at_once():
    net = one_layer()
    net.nodes.append(replace(net.nodes[2], name="again"))
    net.add(Table, "table", table=np.arange(256), bits=8, signed=False, exponent=0)
    message = (
        r"^the accelerator does not support: conv \(Conv2d with 2 readers\), "
        r"table \(Table, which needs tables in the configuration\)$"
    )
    with pytest.raises(CompileError, match=message):
        compile_graph(net.graph("out", "table"), TINY)


def test_regions_too_large():
    """The largest code of a region higher than a command can say."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(1, 300, 1), bits=4, signed=True, exponent=0)
    net.add(RegionMax2d, "largest", rows=[[0, 298], [2, 300]], columns=[[0, 1]])
    refused(
        net,
        replace(TINY, act_depth=1024),
        "layer largest: Field kernel_h of Compute must fit 8 bits, not be 298",
    )


def test_invalid_graphs_are_refused_first():
    linear = Linear(
        name="fc", input="gone", weight=[[1]], weight_bits=2, weight_exponent=[0], acc_bits=8
    )
    with pytest.raises(GraphError, match="gone"):
        compile_graph(Graph(nodes=(linear,), outputs=("fc",)), TINY)


def test_dead_channels():
    """Zero weights cost nothing: any bias and shift of such a channel fits."""
    weight = np.ones((2, 3, 3, 3), int)
    weight[1] = 0
    net = one_layer(weight=weight)
    net.nodes[-1] = replace(net.nodes[-1], bias=[0, 1 << 46], shift=[5, 40])
    compile_graph(net.graph(), TINY)


@pytest.mark.parametrize("name", ["shift_64", "scale_32", "multiply_256"])
def test_commands_of_a_program(name):
    """Every command waits only for what stands before it, and the END is the last."""
    config = VERILATED[name]
    graph = small_network(
        act_bits=config.act_bits, weight_bits=config.weight_bits, scale=config.requant == "scale"
    )
    program = compile_graph(graph, config, traced=True)
    commands = read_commands(program.commands)
    assert program.command_count == len(commands)
    assert [command.opcode for command in commands].index(Opcode.END) == len(commands) - 1
    counts = dict.fromkeys((Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE), 0)
    ends = []
    for command in commands[:-1]:
        for other, count in counts.items():
            assert command.waits_for(other) <= count
        counts[command.opcode] += 1
        if isinstance(command, Compute):
            assert command.layer == len(ends)
            ends += [command.layer] * command.layer_end
    assert ends == list(range(len(program.layers)))
    # What a concatenation makes on its way is not of the graph.
    nodes = {node.name for node in graph.nodes}
    assert {port.name for port in program.traced} == nodes & {x.output for x in program.layers}
    assert counts[Opcode.STORE] == len(program.traced) + len(program.outputs)


def test_an_input_that_is_also_an_output_stays_on_the_chip():
    """It was stored from there; where another operand does not fit, nothing would have been."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(9, 3, 6), bits=2, signed=False, exponent=0)
    net.add(Flatten, "flat", input="image").add(Clip, "zero", input="image", low=0, high=0)
    net.add(Add, "sum", operands=("zero", "image"), shifts=(0, 0), acc_bits=3)
    net.requantize("out", 2, False)
    graph = net.graph("flat", "out")
    config = VERILATED["scale_32"]
    codes = {"image": np.random.default_rng(1).integers(0, 4, (1, 9, 3, 6))}
    given = run_program(compile_graph(graph, config), codes)["flat"]
    assert np.array_equal(given.reshape(-1), codes["image"].reshape(-1))
    with pytest.raises(
        CompileError,
        match=r"^layer sum: both operands must fit act_depth = 64, because image is an input that "
        r"is also an output$",
    ):
        compile_graph(graph, replace(config, act_depth=64))


_COMPILE = """
import sys
from pathlib import Path
from hw.compiler import compile_graph, save_program
from tests.hw.compiler.test_compile import example
save_program(example(), Path(sys.argv[1]))
"""


def example():
    config = VERILATED["scale_32"]
    return compile_graph(small_network(act_bits=8, weight_bits=3, scale=True), config)


def test_equal_bytes_from_another_process(tmp_path):
    """Whatever the order of sets and the time of day."""
    save_program(example(), tmp_path / "here")
    root = Path(__file__).parents[3]
    for seed in ("0", "1234"):
        subprocess.run(
            [sys.executable, "-c", _COMPILE, tmp_path / "there"],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
            check=True,
            timeout=120,
        )
        assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
