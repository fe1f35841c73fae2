"""Mobile networks with squeeze and excite, from PyTorch to the accelerator, code by code."""

import pytest
import torch
from torch import Tensor, nn

from hw.compiler import compile_graph
from hw.contract.isa import Compute, Product, read_commands
from hw.contract.memory_timing import MemoryTiming
from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph.operators import Multiply, Table
from tests.hw.accelerators import VERILATED
from tests.hw.networks import images, traced_codes
from tests.hw.runs import compare


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: type[nn.Module], gate: type[nn.Module]):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 3, 1),
            inner(),
            nn.Conv2d(3, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class Block(nn.Module):
    """Expand, depthwise, squeeze and excite, project; around it a residual where shapes agree."""

    def __init__(self, inputs, outputs, kernel, stride, act, inner, gate):
        super().__init__()
        wide = 2 * inputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            act(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            act(),
            SqueezeExcite(wide, inner, gate),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.residual else y


def mobile(act, inner, gate) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        act(),
        Block(6, 6, 3, 1, act, inner, gate),
        Block(6, 8, 5, 2, act, inner, gate),
        nn.Conv2d(8, 16, 1),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param((nn.Hardswish, nn.ReLU, nn.Hardsigmoid), id="mobilenet_v3"),
        pytest.param((nn.SiLU, nn.SiLU, nn.Sigmoid), id="efficientnet"),
    ],
)
def test_every_code(accelerator_model, kinds):
    torch.manual_seed(1)
    x = torch.randn(16, 3, 16, 16)
    network = convert(mobile(*kinds), QuantConfig(weight_bits=3, act_bits=8), x[:1])
    calibrate(network, [x])
    graph = export_graph(network.eval(), (3, 16, 16))
    tables = sum(isinstance(node, Table) for node in graph.nodes)
    products = [node.name for node in graph.nodes if isinstance(node, Multiply)]
    assert tables >= 8
    assert len(products) == 2
    config = VERILATED["shift_64"]
    program = compile_graph(graph, config, traced=True)
    # Every table follows the layer that computes its input.
    assert not {layer.name for layer in program.layers} & {
        node.name for node in graph.nodes if isinstance(node, Table)
    }
    computes = [c for c in read_commands(program.commands) if isinstance(c, Compute)]
    names = {program.layers[c.layer].name for c in computes if c.product & Product.SHARED}
    assert names == set(products)
    inputs = images(graph, 3)
    driver, _ = accelerator_model(config).driver(program, timing=MemoryTiming(stall_rate=0.2))
    for image, expected in zip(inputs, traced_codes(graph, inputs), strict=True):
        compare(driver, image, expected)
