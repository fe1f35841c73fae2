"""hw.traffic: every byte is some layer's, and weights are their own layer's."""

import pytest

from hw.compiler import compile_graph
from hw.config import PRESETS
from hw.cycles import estimate_cycles
from hw.traffic import layer_bytes
from tests.cli.networks import small_graph
from tests.hw.networks import small_network

BEAT = {name: config.axi_beat_bits // 8 for name, config in PRESETS.items()}


@pytest.mark.parametrize("name", ["tiny", "digits", "zcu102-8bit"])
def test_bytes_of_all_layers(name):
    """What the cycle model counts in all, less the commands themselves."""
    graph = small_network(act_bits=8, weight_bits=3, scale=False)
    program = compile_graph(graph, PRESETS[name])
    estimate = estimate_cycles(program)
    moved = estimate.read_bytes - len(program.commands) + estimate.written_bytes
    assert sum(layer_bytes(program)) == moved


def test_bytes_by_hand():
    """8 lanes × 8 filters: image, weights and parameters of each layer, result of the last."""
    program = compile_graph(small_graph(), PRESETS["tiny"])
    conv, pool, linear = layer_bytes(program)
    layout = program.input.layout
    image = layout.host_bytes(program.config)
    weights, params = 64 * 3 // 8, program.config.post_lanes
    steps = -(-layout.channels // 8) * (9 if program.fold is None else 1)
    assert (conv - image) % BEAT["tiny"] == 0
    assert conv - image >= steps * weights
    # Pooling has parameters that change nothing, and no weights.
    assert 0 < pool < 64 * params
    outputs = program.outputs[0].layout.host_bytes(program.config)
    assert linear - outputs >= 2 * 16 * weights
