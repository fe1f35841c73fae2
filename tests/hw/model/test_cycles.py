"""hw.model.cycles: layer by layer what the RTL takes."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.model import cycles
from hw.model.cycles import estimate_cycles
from nbqnn_train.graph import Input
from tests.hw.accelerators import VERILATED
from tests.hw.networks import Network, gated_network, images, small_network, traced_codes
from tests.hw.runs import compare

CONFIG = VERILATED["shift_64"]
FOUR_PORTS = replace(CONFIG, name="four_ports", axi_ports=4, axi_data_width=32)


def streamed(size=2):
    """Words of the image, ``size`` by ``size`` for each output, which is drained all the time."""
    net = Network(seed=1).add(Input, "image", shape=(4, 48, 48), bits=8, signed=True, exponent=0)
    net.conv("layer", (8, 4, size, size), 3, stride=(size, size))
    return net.requantize("out", 8, True).graph()


def chain():
    """Weights come in many loads, each for a short time of computing."""
    return layers((8, 24, 28, 16), size=6)


def tiled():
    """Feature maps that do not fit: tiles are stored while the next are computed."""
    return layers((4, 8, 4, 8), size=48)


def gated():
    """Tables, and products whose factors differ by channel or by position."""
    return gated_network(act_bits=8, weight_bits=2, scale=False, tables=True, seed=3)


def layers(channels, size):
    """3x3 convolutions of a square map, one behind the other."""
    shape = (channels[0], size, size)
    net = Network(seed=1).add(Input, "image", shape=shape, bits=8, signed=True, exponent=0)
    for number, (inputs, outputs) in enumerate(pairwise(channels)):
        net.conv(f"layer{number}", (outputs, inputs, 3, 3), 3, padding=(1, 1, 1, 1))
        net.requantize(f"out{number}", 8, True)
    return net.graph()


def measured(accelerator_model, program, graph, timing):
    driver, _ = accelerator_model(program.config).driver(program, timing=MemoryTiming(**timing))
    x = images(graph, 1)
    return compare(driver, x[0], traced_codes(graph, x)[0])


@pytest.mark.parametrize("timing", [{}, {"read_latency": 80, "write_latency": 50}])
@pytest.mark.parametrize("network", [streamed, chain, tiled, gated, small_network])
def test_every_layer(accelerator_model, network, timing):
    graph = (
        small_network(act_bits=8, weight_bits=3, scale=False)
        if network is small_network
        else network()
    )
    program = compile_graph(graph, CONFIG)
    result = measured(accelerator_model, program, graph, timing)
    estimate = estimate_cycles(program, MemoryTiming(**timing))
    assert estimate.cycles == pytest.approx(result.cycles, rel=0.01)
    for layer, expected in zip(estimate.layers, result.layer_cycles, strict=True):
        # A descriptor that comes sooner or later moves cycles from a layer to the next.
        assert layer.cycles == pytest.approx(expected, rel=0.01, abs=32), layer


@pytest.mark.parametrize("network", [streamed, chain, tiled, gated])
def test_pixels_in_blocks(accelerator_model, network):
    """Results come 32 cycles later. Stores wait for banks a little longer than the model says."""
    graph, config = network(), VERILATED["hybrid_64"]
    program = compile_graph(graph, config)
    result = measured(accelerator_model, program, graph, {})
    assert estimate_cycles(program).cycles == pytest.approx(result.cycles, rel=0.012)


def test_loads_wait_for_banks(accelerator_model, monkeypatch):
    """Without that the model would be wrong."""
    graph = streamed()
    program = compile_graph(graph, CONFIG)
    result = measured(accelerator_model, program, graph, {})
    monkeypatch.setattr(
        cycles, "loaded", lambda config, load, begin, pace, drains: pace.end(begin, load.words)
    )
    assert estimate_cycles(program).cycles < 0.97 * result.cycles


def test_stores_wait_for_banks(accelerator_model, monkeypatch):
    """Where three of four banks are read in each cycle; without that the model would be wrong."""
    graph = tiled()
    program = compile_graph(graph, VERILATED["hybrid_64"])
    result = measured(accelerator_model, program, graph, {})
    # As closely as in the test of pixels in blocks.
    assert estimate_cycles(program).cycles == pytest.approx(result.cycles, rel=0.012)
    monkeypatch.setattr(
        cycles, "stored", lambda config, store, begin, pace, reads: pace.end(begin, store.words)
    )
    assert estimate_cycles(program).cycles < 0.97 * result.cycles


@pytest.mark.parametrize("rate", [1, 1.25])
def test_loads_and_stores_share_the_memory(accelerator_model, monkeypatch, rate):
    """Which moves so many beats a cycle; without that the model would be wrong."""
    graph = tiled()
    program = compile_graph(graph, CONFIG)
    timing = {"bytes_per_cycle": rate * CONFIG.axi_beat_bits / 8}
    result = measured(accelerator_model, program, graph, timing)
    estimate = estimate_cycles(program, MemoryTiming(**timing))
    assert estimate.cycles == pytest.approx(result.cycles, rel=0.02)
    for layer, expected in zip(estimate.layers, result.layer_cycles, strict=True):
        assert layer.cycles == pytest.approx(expected, rel=0.03), layer
    monkeypatch.setattr(cycles.Pace, "end", lambda pace, begin, words: begin + words * pace.alone)
    assert estimate_cycles(program, MemoryTiming(**timing)).cycles < 0.97 * result.cycles


def test_four_ports_share_the_memory(accelerator_model, monkeypatch):
    """As fast in relation to the ports as the ZCU102's: loads get more than half of it."""
    graph = tiled()
    program = compile_graph(graph, FOUR_PORTS)
    timing = {"bytes_per_cycle": 1.07 * FOUR_PORTS.axi_beat_bits / 8}
    result = measured(accelerator_model, program, graph, timing)
    estimate = estimate_cycles(program, MemoryTiming(**timing))
    assert estimate.cycles == pytest.approx(result.cycles, rel=0.015)
    monkeypatch.setattr(cycles.Pace, "end", lambda pace, begin, words: begin + words * pace.alone)
    assert estimate_cycles(program, MemoryTiming(**timing)).cycles < 0.982 * result.cycles


def test_refresh(accelerator_model):
    """The memory stands still for a fifth of the time, and the array waits for words."""
    graph = streamed(4)
    program = compile_graph(graph, CONFIG)
    timing = {"refresh_every": 100, "refresh_cycles": 20}
    result = measured(accelerator_model, program, graph, timing)
    estimate = estimate_cycles(program, MemoryTiming(refresh_every=10, refresh_cycles=2))
    assert estimate.cycles == pytest.approx(result.cycles, rel=0.03)
    assert estimate_cycles(program).cycles < 0.95 * result.cycles
