"""PyTorch, interpreter and RTL on networks of the zoo: the same codes, to the bit.

Random weights and small images: what is shown is that the three agree, not what was learned.
"""

import numpy as np
import pytest
import torch

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.model.cycles import estimate_cycles
from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import run, tensor_types
from nbqnn_train.models.registry import build_model
from sim.simulate import simulate_program


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (3, 16, 16)),  # residual additions, strided shortcuts, average pooling
        ("mobilenet_v1", (3, 16, 16)),  # depthwise layers; weights in many tiles
    ],
)
def test_pytorch_equals_interpreter_equals_rtl(name, shape):
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_model(name, 10, shape[0])
    network = convert(model, QuantConfig(weight_bits=3, act_bits=8))
    calibrate(network, [torch.randn(8, *shape, generator=generator)])
    network = network.double().eval()
    graph = export_graph(network, input_shape=shape)

    images = torch.randn(2, *shape, generator=generator)
    codes = run(graph, images.numpy())
    with torch.no_grad():
        values = network(images.double()).numpy()
    (output,) = graph.outputs
    np.testing.assert_array_equal(values, np.ldexp(codes, tensor_types(graph)[output].exponent))
    assert len(np.unique(codes)) > 3, "the network must not be constant"

    program = compile_graph(graph, PRESETS["digits"])
    result = simulate_program(program, images.numpy())
    assert (result.images, result.mismatches) == (2, 0), result.first_mismatch

    # The cycle model knows beforehand what each layer takes.
    estimate = estimate_cycles(program)
    assert estimate.cycles == pytest.approx(result.cycles_per_image, rel=0.01)
    # And for what the array waits: in the end to the same unit, but for the order in which commands
    # and other loads come over one bus.
    causes = (("drain",), ("store",), ("other",), ("load", "fetch"))
    for names in causes:
        modelled, counted = (
            sum(stalls[name] for name in names) for stalls in (estimate.stalls, result.stalls)
        )
        assert modelled == pytest.approx(counted, abs=0.01 * estimate.cycles)
    for expected, measured in zip(estimate.layers, result.layers, strict=True):
        # Short layers that wait for weights are off by a round trip to the memory at most.
        assert expected.cycles == pytest.approx(measured.cycles, rel=0.03, abs=64), expected
