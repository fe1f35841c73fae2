"""Errors against full precision, beside computations of another kind."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import run
from nbqnn_train.graph.summary import NodeSummary
from nbqnn_train.quant.real import real_values
from nbqnn_train.quantization_report import report_quantization
from tests.train.random_networks import random_images, randomized
from tests.train.test_exactness import MODES, Everything

# Of a padding that Everything has; torch warns once per process.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

X = random_images(3, (6, 3, 12, 12), signed=True)


@pytest.mark.parametrize("mode", MODES)
def test_full_precision_is_the_module_before_conversion(mode):
    module = randomized(Everything(), 1).double().eval()
    network = convert(module, QuantConfig(requant_mode=mode)).eval()
    x = torch.from_numpy(X).double()
    with torch.no_grad():
        expected = module(x)
    torch.testing.assert_close(real_values(network, x)[network.output], expected)


def rows(module: nn.Module, config: QuantConfig, batches, reference=None) -> dict[str, NodeSummary]:
    network = convert(module, config)
    calibrate(network, [torch.from_numpy(batch) for batch in batches])
    summary = report_quantization(network, batches, reference)
    assert summary.images == sum(map(len, batches))
    json.dumps(summary.to_json(), allow_nan=False)
    return {row.name: row for row in summary.nodes}


def test_weight_error_is_that_of_the_projection():
    linear = nn.Linear(3, 2)
    # 3 is as far from 2 as from 4; 0.25 is nearest to 0. The first row has steps of 2.
    linear.weight.data = torch.tensor([[4.0, 3.0, 0.25], [1.0, -2.0, 4.0]])
    module = nn.Sequential(nn.Flatten(), linear)
    x = random_images(0, (4, 3, 1, 1), signed=True)
    found = rows(module, QuantConfig(), [x])["_1"]
    norm = 16 + 9 + 1 / 16 + 21
    assert found.weight_error == pytest.approx(((1 + 1 / 16) / norm) ** 0.5)
    assert found.weights == {-2: 1, 0: 1, 1: 1, 2: 2, 4: 1}
    assert found.zeros == pytest.approx(1 / 6)


@pytest.mark.parametrize("mode", MODES)
def test_activation_errors_are_those_of_the_graph(mode):
    torch.manual_seed(5)  # of the biases
    module = randomized(Everything(), 5)
    config = QuantConfig(requant_mode=mode)
    found = rows(module, config, [X[:4], X[4:]])
    together = rows(module, config, [X])
    for name, row in together.items():  # however images are divided
        assert found[name].codes == row.codes
        assert found[name].error == pytest.approx(row.error)
    network = convert(module, config)
    calibrate(network, [torch.from_numpy(X)])
    graph = export_graph(network.eval(), X.shape[1:])
    (output,) = graph.outputs
    with torch.no_grad():
        real = module.double().eval()(torch.from_numpy(X).double()).numpy()
    quantized = np.ldexp(run(graph, X).astype(float), graph[output].exponent)
    error = np.linalg.norm(quantized - real) / np.linalg.norm(real)
    assert found[output].error == pytest.approx(error)
    assert {name for name, row in found.items() if row.error is not None} >= {
        "x",
        "conv1.out",
        "cat",
    }


def test_powers_of_two_lose_nothing():
    conv = nn.Conv2d(3, 4, 3, bias=False)
    conv.weight.data = torch.from_numpy(
        np.random.default_rng(0).choice([0, 0.5, -0.5, 1, -1, 2, -2], conv.weight.shape)
    ).float()
    found = rows(nn.Sequential(conv), QuantConfig(act_bits=16), [X])
    assert found["_0"].weight_error == 0
    assert 0 < found["_0.out"].error < 1e-3
    assert found["_0.out"].below == found["_0.out"].above == 0


def test_an_error_is_undefined_where_full_precision_is_zero():
    conv = nn.Conv2d(3, 4, 3, bias=False)
    conv.weight.data.zero_()
    found = rows(nn.Sequential(conv), QuantConfig(), [X])
    assert found["_0"].weight_error is found["_0.out"].error is None
    assert found["_0.out"].codes == {0: 6 * 4 * 10 * 10}


def test_another_reference():
    module = randomized(Everything(), 2)
    doubled = convert(module, QuantConfig())
    with torch.no_grad():
        doubled.ops["conv3"].weight *= 2
    own = rows(module, QuantConfig(), [X])
    other = rows(module, QuantConfig(), [X], doubled)
    assert other["conv1"] == own["conv1"]
    # Quantized weights are near w, and so near half of 2w.
    assert other["conv3"].weight_error == pytest.approx(0.5, abs=0.15)
    assert other["conv3.out"].error > own["conv3.out"].error
