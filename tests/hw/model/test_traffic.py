"""hw.model.traffic: every byte is some layer's, and weights are their own layer's."""

import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.model.cycles import estimate_cycles
from hw.model.traffic import layer_bytes
from hw.rtl.post.requantizer import param_layout
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
    # Whole beats of 4 bytes: 64 weights of 3 bits, 4 sets of parameters.
    weights, params = 24, 4 * -(-4 * param_layout(program.config).size // 32)
    image = program.inputs[0].layout.host_bytes(program.config)
    result = program.outputs[0].layout.host_bytes(program.config)
    steps = 9 if program.blocks is None else -(-9 // program.blocks.shape[0])
    assert layer_bytes(program) == [
        # 4 of 8 filters, so one set of four.
        image + steps * weights + params,
        # Pooling has parameters that change nothing.
        params,
        # 10 outputs: 8 and 2, of a kernel of 4 × 4, two positions abreast.
        result + 2 * 8 * weights + 3 * params,
    ]
