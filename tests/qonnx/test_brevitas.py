"""A network that Brevitas trains here and now is imported and computes Brevitas' own codes."""

import numpy as np
import pytest
import torch
from torch import nn

from nbqnn_train.graph import run, tensor_types
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.qonnx import import_qonnx

pytestmark = pytest.mark.filterwarnings("ignore")


def _network(weight_bits: int) -> nn.Module:
    import brevitas.nn as qnn
    from brevitas.quant import (
        Int8ActPerTensorFixedPoint,
        Int8WeightPerTensorFixedPoint,
        Uint8ActPerTensorFixedPoint,
    )

    weights = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": weight_bits}
    floor = {"float_to_int_impl_type": "floor"}
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint),
        qnn.QuantConv2d(1, 8, 3, padding=1, bias=True, **weights),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, **floor),
        nn.MaxPool2d(2),
        qnn.QuantConv2d(8, 8, 3, stride=2, groups=4, bias=False, **weights),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, **floor),
        nn.Flatten(),
        qnn.QuantLinear(8, 10, bias=True, **weights),
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, **floor),
    )


def _trained(weight_bits: int, x: torch.Tensor, target: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = _network(weight_bits)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), target)
        loss.backward()
        optimizer.step()
    # On a grid that float32 sums hold exactly, so that Brevitas itself computes without rounding.
    with torch.no_grad():
        for layer in network:
            if getattr(layer, "bias", None) is not None:
                layer.bias.copy_(torch.round(layer.bias * 2**12) / 2**12)
    return network.eval()


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    return x[:256], torch.tensor(labels[:256])


def _exported(network: nn.Module, x: torch.Tensor, path) -> None:
    from brevitas.export import export_qonnx

    export_qonnx(network, x[:1], str(path))


def test_a_trained_network_is_imported(digits, tmp_path):
    x, target = digits
    network = _trained(2, x, target)
    _exported(network, x, tmp_path / "model.onnx")
    graph = import_qonnx(tmp_path / "model.onnx", exact=False)
    # Off the ties of the input, which are all that exact=False lets through here.
    images = x + 0.001
    with torch.no_grad():
        expected = network(images)
    expected = getattr(expected, "value", expected).numpy()
    types = tensor_types(graph)
    codes = run(graph, images.numpy())
    assert len(np.unique(codes)) > 20
    step = 2.0 ** types[graph.outputs[0]].exponent
    assert np.array_equal(codes * step, expected)


def test_weights_that_are_no_powers_of_two_are_refused(digits, tmp_path):
    x, target = digits
    _exported(_trained(4, x, target), x, tmp_path / "model.onnx")
    with pytest.raises(
        GraphError, match=r"weight\[.*\] is .* times the smallest .* must be 0 or a signed power"
    ):
        import_qonnx(tmp_path / "model.onnx", exact=False)
