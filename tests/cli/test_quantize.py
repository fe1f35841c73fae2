"""quantize: from weights in full precision to a graph, without labels."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from nbqnn_train.graph import load, run, tensor_types

NETWORK = """
import torch
from torch import nn

def build(classes=4):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, classes), nn.Softmax(dim=1),
    )

class Ends(nn.Module):
    # Two outputs of different sizes and None.
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 5)
    def forward(self, x): return self.wide(x), self.narrow(x), None

def pool(): return nn.MaxPool2d(2)
def enlarge(): return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(size=(12, 12)))
"""


@pytest.fixture
def network(tmp_path):
    """The module, its files, and inputs."""
    (tmp_path / "quantized_net.py").write_text(NETWORK)
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.Linear(32, 4), nn.Softmax(dim=1)),
    )
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    torch.save(module, tmp_path / "whole.pt")
    x = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return module, x


WIDTHS = ["--act-bits", "4", "--input-bits", "7", "--output-bits", "9"]


@pytest.mark.parametrize(("name", "outputs"), [("Ends", 2), ("pool", 1), ("enlarge", 1)])
def test_networks_that_follow_the_size_of_the_inputs(nbqnn, network, tmp_path, name, outputs):
    """Nothing is guessed: the inputs are the example."""
    model = ["--model", f"quantized_net.py:{name}", "--input", "x.npy", "-o", "graph"]
    outcome = nbqnn("quantize", *model, *WIDTHS)
    assert outcome.code == 0, outcome
    graph = load(tmp_path / "graph")
    # Nothing but the input makes what pooling alone gives.
    assert graph.input_nodes[0].bits == (9 if name == "pool" else 7)
    assert {tensor_types(graph)[end].bits for end in graph.outputs} == {9}
    assert len(graph.outputs) == outputs
    assert tuple(graph.input_nodes[0].shape) == (1, 6, 6)


MODEL = ["quantize", "--model", "quantized_net.py:build", "-o", "graph"]


def test_a_graph_that_agrees_with_full_precision(nbqnn, network, tmp_path):
    module, x = network
    arguments = ["--pretrained", "weights.pt", "--input", "x.npy", "--json", "result.json"]
    outcome = nbqnn(*MODEL, *arguments)
    assert outcome.code == 0, outcome
    graph = load(tmp_path / "graph")
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).argmax(dim=1).numpy()
    same = float(np.mean(np.asarray(run(graph, x)).argmax(axis=1) == wanted))
    assert json.loads((tmp_path / "result.json").read_text())["agreement"] == same
    assert same > 0.8
    assert graph.final == ("softmax",)


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("Inputs must be given by one of --input X.npy and --data", ["--pretrained", "weights.pt"]),
        (r"whole\.pt must hold named tensors .*remedy: .*", ["--pretrained", "whole.pt"]),
        (".*bytes.npy' must be float32 .*, not uint8 .*; remedy: .*", ["--input", "bytes.npy"]),
        (".*weights.pt: 0.weight must .*|.*channels.*", ["--input", "wide.npy"]),
        (".* must be at least 16, not 3", ["--input", "few.npy"]),
        (".*nan.npy' must be finite numbers, not NaN or infinite", ["--input", "nan.npy"]),
        (r"Weight bits must be in 2\.\.6, not 1", ["--bits", "1"]),
    ],
)
def test_quantize_refuses(refused, network, tmp_path, pattern, arguments):
    _, x = network
    np.save(tmp_path / "bytes.npy", x.astype(np.uint8))
    np.save(tmp_path / "wide.npy", np.repeat(x, 3, axis=1))
    np.save(tmp_path / "few.npy", x[:3])
    np.save(tmp_path / "nan.npy", x * np.float32(np.nan))
    given = [*arguments]
    if "--pretrained" not in given:
        given += ["--pretrained", "weights.pt"]
    if "--input" not in given and "one of" not in pattern:
        given += ["--input", "x.npy"]
    refused(pattern, *MODEL, *given)


def test_random_weights_are_refused(refused, network):
    model = ["quantize", "--model", "digits", "-o", "graph", "--input", "x.npy"]
    refused("Weights must be given by --pretrained: 'digits' begins with random ones", *model)
