"""What reading a module keeps: what is active in training only, what is shared, what is nested."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils import _pytree as pytree

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from nbqnn_train.convert import NetworkRefused, QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import run, tensor_types, with_arg_max
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.calibration import estimate_means
from nbqnn_train.quant.ops import TrainingOp
from nbqnn_train.quant.reading import arithmetic, layers, limits, windows
from nbqnn_train.quant.reading.rules import RULES
from nbqnn_train.quant.real import real_values
from nbqnn_train.quantize import quantize
from tests.train.exactness import assert_exact
from tests.train.networks.parts import DropPath, FrozenBatchNorm, Net, conv, conv_bn

X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def converted(module: nn.Module, *example: torch.Tensor):
    network = convert(module, QuantConfig(), example or (X,))
    calibrate(network, [example if len(example) > 1 else (example or (X,))[0]])
    return network


@pytest.mark.parametrize(
    "dropout",
    [
        nn.Dropout(0.5),
        nn.Dropout2d(0.5),
        nn.Dropout(0.5, inplace=True),
        nn.AlphaDropout(0.5),
        DropPath(0.5),
        Net(lambda m, x: F.dropout(x, 0.5, m.training)),
        Net(lambda m, x: F.dropout2d(x, 0.5, m.training)),
    ],
)
def test_dropout_stays_active_in_training_and_only_there(dropout):
    network = converted(nn.Sequential(conv(3, 4), dropout, conv(4, 2)))
    assert sum(isinstance(op, TrainingOp) for op in network.ops.values()) == 1
    network.train()
    torch.manual_seed(0)
    first, second = network(X), network(X)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(network(X), first)
    network.eval()
    assert torch.equal(network(X), network(X))


def test_dropout_in_place_as_a_statement_acts_on_what_follows():
    def forward(m, x):
        x = m.a(x)
        F.dropout(x, 0.9, m.training, inplace=True)
        return m.b(x)

    network = converted(Net(forward, a=conv(3, 4), b=conv(4, 2))).train()
    assert not torch.equal(network(X), network(X))


@pytest.mark.parametrize("idle", [nn.Dropout(0.0), DropPath(0.0), nn.Identity()])
def test_what_does_nothing_is_not_kept(idle):
    network = converted(nn.Sequential(conv(3, 4), idle, nn.ReLU()))
    assert [type(op).__name__ for op in network.ops.values()] in (
        ["InputOp", "WeightedLayer"],
        ["InputOp", "WeightedLayer", "TrainingOp", "ClipOp"],  # DropPath(0) multiplies by 1
    )


def test_what_does_not_learn_does_not_learn():
    module = nn.Sequential(conv_bn(3, 4), conv(4, 2))
    module[0].requires_grad_(False)
    network = converted(module)
    learning = {name: p.requires_grad for name, p in network.named_parameters()}
    assert {name for name, learns in learning.items() if learns} == {"ops._1.weight", "ops._1.bias"}
    assert len(learning) == 5


def test_a_module_used_twice_has_one_set_of_weights():
    def forward(m, x):
        x = m.first(x)
        return m.norm(m.layer(m.norm(m.layer(x))))

    module = Net(forward, first=conv(3, 4), layer=conv(4, 4), norm=nn.BatchNorm2d(4))
    network = converted(module)
    first, second = network.ops["layer"], network.ops["layer_1"]
    assert first.weight is second.weight
    assert first.bias is second.bias
    assert first.norm is second.norm
    assert len(list(network.parameters())) == 6


def test_the_momentum_of_batch_norm_is_kept():
    module = nn.Sequential(conv_bn(3, 4), conv_bn(4, 4))
    module[0][1].momentum, module[1][1].momentum = 0.25, None
    module[0][1].num_batches_tracked += 7
    layers = list(converted(module).weighted_layers().values())
    assert [layer.norm.momentum for layer in layers] == [0.25, None]
    assert [int(layer.norm.num_batches_tracked) for layer in layers] == [7, 0]


def test_several_inputs_and_nested_outputs():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 4), conv(2, 4), conv(4, 2)

        def forward(self, x, y):
            a = self.a(x)
            return {"sum": a + self.b(y), "parts": (a, [self.c(a).flatten(1)])}

    module = Nested()
    y = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    network = converted(module, X, y)
    result = network.eval()(X, y)
    assert list(result) == ["sum", "parts"]
    assert [part.shape for part in (result["sum"], *result["parts"][1])] == [(3, 4, 8, 8), (3, 128)]
    graph = assert_exact(network, X.numpy(), y.numpy())
    assert [node.name for node in graph.input_nodes] == ["x", "y"]
    by_name = export_graph(network, {"y": (2, 8, 8), "x": (3, 8, 8)})
    assert by_name == graph
    with pytest.raises(NbqnnError, match=r"^Network must be given 2 tensors .* \(x, y\), not 1$"):
        network(X)
    with pytest.raises(NbqnnError, match=r"^Batch 0 of the inputs must begin with 2 tensors"):
        calibrate(network, [X])


def test_what_is_counted_for_later_is_left_out():
    """A module that counts its calls in a buffer computes the same every time."""

    def counting(m, x):
        m.calls += 1
        return m.conv(x)

    module = Net(counting, conv=conv(3, 4), calls=nn.Buffer(torch.zeros(())))
    network = converted(module)
    assert_exact(network, X.numpy())
    assert len(export_graph(network).outputs) == 1
    assert module.calls == 0


def test_none_among_the_outputs_stays():
    module = Net(
        lambda m, x: {"loss": None, "maps": [None, m.conv(x)], "end": None}, conv=conv(3, 4)
    )
    network = convert(module, QuantConfig(), X[:1])
    calibrate(network, [X])
    for mode in (True, False):
        found = network.train(mode)(X)
        assert found["loss"] is found["maps"][0] is found["end"] is None
        assert found["maps"][1].shape == (len(X), 4, *X.shape[2:])
    assert len(export_graph(network).outputs) == 1
    with torch.no_grad():
        rounded = quantize(module, [X] * 16, QuantConfig())(X)
    assert rounded["loss"] is None


def test_a_module_without_outputs_is_refused():
    with pytest.raises(NetworkRefused, match=r": no output, at the .*; return a tensor"):
        convert(Net(lambda m, x: (None, None)), QuantConfig(), X[:1])


def test_inputs_by_name():
    module = Net(lambda m, *, x: m.a(x), a=conv(3, 4))
    network = convert(module, QuantConfig(), {"x": X})
    assert network.train()(x=X).shape == (3, 4, 8, 8)


@pytest.mark.parametrize(
    ("last", "final", "apply"),
    [
        (nn.Softmax(1), "softmax", lambda y: y.softmax(1)),
        (nn.LogSoftmax(-1), "log_softmax", lambda y: y.log_softmax(1)),
        (nn.Sigmoid(), "sigmoid", torch.sigmoid),
        (Net(lambda m, x: x.argmax(1)), "argmax", lambda y: y.argmax(1)),
    ],
)
def test_the_end_is_left_out_with_a_note(last, final, apply):
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), last)
    network = converted(module)
    assert network.final == (final,)
    assert final in network.notes[0]
    assert "left out" in network.notes[0]
    assert export_graph(network).final == (final,)
    real = real_values(network, X)[network.output]
    torch.testing.assert_close(apply(real), module(X))


@pytest.mark.parametrize("act_bits", [2, 8])
def test_arg_max_of_maps_in_the_graph(act_bits):
    """With 2 bits most positions have several largest channels: PyTorch takes the first, too."""
    module = Net(lambda m, x: m.conv(x).argmax(1), conv=conv(3, 7))
    network = convert(module, QuantConfig(act_bits=act_bits), X)
    calibrate(network, [X])
    network.double().eval()
    graph = with_arg_max(export_graph(network))
    scores = network(X.double())
    assert (scores == scores.amax(1, keepdim=True)).sum(1).max() > (act_bits == 2)
    assert np.array_equal(run(graph, X.numpy())[:, 0], scores.argmax(1).numpy())


@pytest.mark.parametrize("channels", [1, 4, 6, 7])
def test_over_channels(channels):
    """Squares, rectangles and rows of a block; what is left of the block is not pooled."""

    def pooled(m, x):
        x = m.conv(x) - 3
        last = x.permute(0, 2, 3, 1)
        found = [x.mean(1, True), x.sum(1).unsqueeze(1), x.amax(1, True), -(-x).amax(1, True)]
        found += [x.max(dim=1, keepdim=True)[0], last.mean(-1, True).permute(0, 3, 1, 2)]
        return torch.cat([*found, x.flatten(2).mean(1, True).view(-1, 1, 8, 8)], 1)

    module = Net(pooled, conv=conv(3, channels))
    network = converted(module)
    torch.testing.assert_close(real_values(network, X)[network.output], module(X))
    assert_exact(network, X.numpy())


def test_constants_among_channels():
    """The same at all positions, by position, learned; first and last."""
    ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)

    class Marked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = conv(3, 4), conv(10, 4)
            self.mark = nn.Parameter(torch.randn(1, 3, 1, 1))

        def forward(self, x):
            y = self.conv(x)
            at = (ramp, ramp.mT, torch.full_like(ramp, 0.75))
            mark = self.mark.expand(len(x), -1, 8, 8)
            return self.last(torch.cat([mark, y, *(one.expand(len(x), -1, 8, 8) for one in at)], 1))

    module = Marked()
    network = converted(module)
    torch.testing.assert_close(real_values(network, X)[network.output], module(X))
    assert_exact(network, X.numpy())


def test_a_constant_that_differs_by_image():
    def numbered(m, x):
        number = torch.arange(float(len(x))).view(-1, 1, 1, 1)
        return torch.cat([m.conv(x), number.expand(-1, 1, 8, 8)], 1)

    with pytest.raises(NbqnnError, match="image"):
        convert(Net(numbered, conv=conv(3, 4)), QuantConfig(), X[:2])


def test_lerp():
    weights = torch.linspace(0, 1, 4).view(4, 1, 1)

    def between(m, x):
        x = m.conv(x)
        y = m.other(x)
        return x.lerp(y, 0.25), x.lerp(y, weights.to(x)), torch.lerp(y, x, x.relu())

    module = Net(between, conv=conv(3, 4), other=conv(4, 4))
    network = converted(module)
    found = real_values(network, X)
    for name, expected in zip(network.outputs, module(X), strict=True):
        torch.testing.assert_close(found[name], expected)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: x[:, [2, 7]], r"index 7 is out of bounds .*; take channels and positions that"),
        (lambda x: x.min(1)[0], r"the smallest value over dimension 1.*; -\(-x\)\.amax\(dim\) is"),
        (lambda x: x.repeat(1, 12, 1, 1)[:, :37].mean(1), r"the mean over 37 channels, .*up to 32"),
    ],
)
def test_what_is_not_there_is_said(broken, message):
    with pytest.raises(NetworkRefused, match=message):
        convert(Net(lambda m, x: broken(m.conv(x)), conv=conv(3, 4)), QuantConfig(), X)


def skipped(m, x):
    return x if m.training and torch.rand(1) < 0.5 else x + m.layer(x)


def noisy(m, x):
    return m.layer(x + torch.randn_like(x) if m.training else x)


def masked(m, x):
    if m.training:
        x = x * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.5)
    return m.layer(x)


def dropped(m, x):
    return m.layer(F.dropout(x, 0.5) if m.training else x)


def python(m, x):
    return x if m.training and random.random() < 0.5 else m.layer(x)


def numpy(m, x):
    return x if m.training and np.random.rand() < 0.5 else m.layer(x)


@pytest.mark.parametrize("forward", [skipped, noisy, masked, dropped, python, numpy])
def test_randomness_of_training_that_is_left_out_is_noted(forward):
    module = nn.Sequential(conv(3, 3), Net(forward, layer=conv(3, 3)))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    network = convert(module, QuantConfig(), X)
    (note,) = network.notes
    assert note.startswith("random numbers in training alone are left out, at ")
    if forward not in (python, numpy):
        assert " at 1 (test_reading.py:" in note
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_what_another_thread_draws_meanwhile_is_not_the_modules():
    """Python's generator belongs to all threads; what is drawn once only is another's."""
    drawn = []

    def forward(m, x):
        if m.training and not drawn:
            drawn.append(random.random())
        return m.layer(x)

    network = convert(Net(forward, layer=conv(3, 3)), QuantConfig(), X)
    assert drawn
    assert network.notes == ()


def test_randomness_that_is_kept_is_not_noted():
    forward = Net(
        lambda m, x: m.layer(F.dropout2d(m.drop(x), 0.5, m.training)),
        layer=conv(3, 3),
        drop=nn.Sequential(nn.Dropout(0.5), DropPath(0.5)),
    )
    network = convert(forward, QuantConfig(), X)
    assert network.notes == ()
    assert sum(isinstance(op, TrainingOp) for op in network.ops.values()) == 3


def halved(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).half()


def pruned(module: nn.Module) -> nn.Module:
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    return module


@pytest.mark.parametrize("change", [halved, pruned, nn.Module.double])
def test_weights_in_other_forms(change):
    module = change(nn.Sequential(conv(3, 4), nn.ReLU()))
    network = convert(module, QuantConfig(), X)
    weight = network.ops["_0"].weight
    torch.testing.assert_close(weight, module[0].weight, check_dtype=False)
    assert weight.is_leaf
    if change is pruned:
        assert (weight == 0).sum() == weight.numel() // 2
        assert "what it makes zero stays zero" in network.notes[0]


def test_pruned_weights_stay_zero():
    """In a training with momentum and decay, and in a quantization; a layer used twice is one."""
    torch.manual_seed(0)
    layer = pruned(nn.Sequential(conv(3, 3)))[0]
    module = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Flatten(), nn.Linear(192, 4))
    prune.random_unstructured(module[5], "weight", amount=0.75)
    network = convert(module, QuantConfig(), X).train()
    assert len(network.weighted_layers()) == 3
    assert len({id(layer.weight) for layer in network.weighted_layers().values()}) == 2
    calibrate(network, [X])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(X).square().sum().backward()
        optimizer.step()
    graph = export_graph(network.eval())
    quantized = quantize(module, [torch.randn(32, *X.shape[1:])], QuantConfig())
    for found in (graph, export_graph(quantized)):
        for name, kept in (("_0", layer.weight_mask), ("_5", module[5].weight_mask)):
            weight = found[name].weight
            assert not weight[kept.numpy().reshape(weight.shape) == 0].any()
            assert weight.any()


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3))


def not_a_number() -> nn.Module:
    module = nn.Sequential(conv(3, 4))
    module[0].bias.data[2] = float("nan")
    return module


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lazy, "0.weight must have a shape; remedy: run the network once on an example before"),
        (not_a_number, r"Weights of Sequential: 0\.bias must be finite, not nan at \[2\]$"),
    ],
)
def test_weights_that_cannot_be_converted(build, message):
    with pytest.raises(NbqnnError, match=message):
        convert(build(), QuantConfig())


def test_frozen_norms_stay_when_means_are_estimated():
    module = nn.Sequential(conv(3, 4), FrozenBatchNorm(4), nn.ReLU(), FrozenBatchNorm(4))
    network = converted(module)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.mode.frozen = True
    estimate_means(network, [X])
    network.train()(X)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert_exact(network, X.numpy())


# Sizes of inputs.


def size_dependent(m, x):
    x = m.a(x)
    return F.max_pool2d(x, 2) if x.shape[-1] > 8 else x


@pytest.mark.parametrize(("order", "shape"), [((0, 2, 3, 1), (8, 8, 4)), ((0, 1, 3, 2), (4, 8, 8))])
def test_an_output_in_another_order_is_noted(order, shape):
    """The network returns it as the module does; the graph has the order in which it computes."""
    net = Net(lambda n, x: n.last(x).permute(order), last=conv(3, 4))
    network = converted(net.eval())
    (note,) = network.notes
    assert note == (
        "output 1 is returned in another order; the graph gives last as it is computed, "
        "(4, 8, 8) without the batch"
    )
    network.double().eval()
    found = network(X.double())
    assert found.shape[1:] == shape
    graph = export_graph(network, (3, 8, 8))
    codes = torch.from_numpy(run(graph, X.numpy())).double()
    assert torch.equal(
        found, (codes * 2.0 ** tensor_types(graph)[graph.outputs[0]].exponent).permute(order)
    )


def rows(x, width):
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)


@pytest.mark.parametrize(
    ("join", "outputs"),
    [
        # As SSD, its first implementations, YOLOX and RetinaNet end.
        (lambda a, b: torch.cat([rows(a, 3), rows(b, 3)], 1), ["first", "second"]),
        (lambda a, b: torch.cat([rows(a, 6).flatten(1), rows(b, 6).flatten(1)], 1).view(
            len(a), -1, 3), ["first", "second"]),
        (lambda a, b: torch.cat([a.flatten(2), b.flatten(2)], 2).permute(0, 2, 1),
         ["first", "second"]),
        (lambda a, b: {"boxes": torch.cat([rows(a[:, :4], 4), rows(b[:, :4], 4)], 1),
                       "scores": torch.cat((rows(a[:, 4:], 2), rows(b[:, 4:], 2)), dim=-2)},
         None),
        # A part is returned alone as well; joins of joins.
        (lambda a, b: (a, torch.cat([a.flatten(2), b.flatten(2)], 2), b),
         ["first", "second"]),
        (lambda a, b: torch.cat([torch.cat([rows(a, 3), rows(b, 3)], 1), rows(a, 3)], -1 - 1),
         ["first", "second"]),
        (lambda a, b: torch.cat([a.flatten(1), b.flatten(1)], 1), ["first", "second"]),
    ],
)  # fmt: skip
def test_what_is_joined_at_the_end_is_left_to_the_host(join, outputs):
    """The network returns it as the module does; the graph has the parts one by one."""
    net = Net(lambda m, x: join(m.first(x), m.second(F.max_pool2d(x, 2))), first=conv(3, 6))
    net.second = conv(3, 6)
    network = converted(net.eval())
    assert any("is joined at the end; the graph gives its parts" in note for note in network.notes)
    graph = assert_exact(network, X.numpy())
    if outputs:
        assert [name.removesuffix(".out") for name in graph.outputs] == outputs
        assert graph.outputs == tuple(dict.fromkeys(graph.outputs))
    # Of another size, and in training.
    larger = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    for given, mode in ((larger, False), (larger, True)):
        expected = pytree.tree_leaves(net.double()(given))
        found = pytree.tree_leaves(network.train(mode)(given))
        assert [x.shape for x in found] == [x.shape for x in expected]
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() < 0.35 * other.abs().max()


@pytest.mark.parametrize(
    "together",
    [
        lambda m, x: torch.cat([x, m.b(x), x[:, :, :3]], 2),
        lambda m, x: torch.cat([m.b(x)[..., 1:], x], -1),
        lambda m, x: torch.cat([x.mean(3, True), m.b(x).mean(2, True).transpose(2, 3)], 2),
        lambda m, x: torch.cat([x.flatten(2), m.b(x).mean(3)], 2),
        lambda m, x: x.roll((1, -3), (2, 3)),
        lambda m, x: m.b(x).roll(2, 1),
        lambda m, x: F.pad(x, (3, 1, 0, 2), mode="circular"),
        lambda m, x: F.pad(x.mean(2), (1, 2), mode="circular"),
        lambda m, x: x[:, :, [0, 2, 4, 7, 6, 5, 1]],
        lambda m, x: x[:, [2, 0, 1, 3]][:, :, [7, 0, 1, 2]][..., [1, 0, 5]],
    ],
)
def test_maps_from_parts(together):
    """Beside each other, rolled, continued from the other side."""

    def forward(m, x):
        x = together(m, m.a(x))
        return m.last(x).relu() if x.dim() == 4 else m.series(x).relu()

    net = Net(forward, a=conv(3, 4), b=conv(4, 4), last=conv(4, 5, 1))
    net.series = nn.Conv1d(4, 5, 1)
    network = converted(net.eval())  # where it is compared with the module
    assert_exact(network, X.numpy())
    compile_graph(export_graph(network, X.shape[1:]), PRESETS["zcu102-8bit"], pack=False)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1), (0, 1, 3, 2)])
def test_a_permuted_map_is_flattened_before_a_linear_layer(order):
    """As networks do that come from where channels are last."""

    def forward(m, x):
        x = m.drop(m.map(x).permute(order).flatten(1))
        return m.first(x) + m.second(x) + m.first(x.relu())

    net = Net(forward, map=conv(3, 4), drop=nn.Dropout(0.5))
    net.first, net.second = nn.Linear(256, 5), nn.Linear(256, 5)
    prune.l1_unstructured(net.second, "weight", amount=0.9)
    network = converted(net.eval())  # where it is compared with the module
    first, again = network.ops["first"], network.ops["first_1"]
    assert first.weight is again.weight
    assert (network.ops["second"].latent == 0).sum() == 1152
    graph = assert_exact(network, X.numpy())
    kinds = [type(node).__name__ for node in graph.nodes]
    assert kinds.count("Flatten") == 1
    assert set(kinds) == {"Input", "Conv2d", "Requantize", "Flatten", "Linear", "Clip", "Add"}


def test_another_size_is_right_or_refused():
    network = converted(Net(size_dependent, a=conv(3, 4)))
    with pytest.raises(NbqnnError, match=r"was read with inputs of \(3, 8, 8\) and computes some"):
        network.eval()(torch.randn(1, 3, 10, 10))
    with pytest.raises(NbqnnError, match=r"computes something else for \(3, 16, 16\)"):
        export_graph(network, (3, 16, 16))
    assert network.eval()(torch.randn(1, 3, 6, 6)).shape == (1, 4, 6, 6)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_a_window_of_the_size_of_the_map_follows_the_map(size):
    network = converted(Net(lambda m, x: F.avg_pool2d(m.a(x), x.shape[2:]), a=conv(3, 4)))
    x = np.random.default_rng(0).normal(size=(2, 3, size, size))
    assert_exact(network, x)
    assert network(torch.from_numpy(x)).shape == (2, 4, 1, 1)


@pytest.mark.parametrize("size", [8, 16])
def test_a_constant_window_stays(size):
    network = converted(nn.Sequential(conv(3, 4), nn.AvgPool2d(8)))
    x = np.random.default_rng(0).normal(size=(2, 3, size, size))
    assert_exact(network, x)
    assert network(torch.from_numpy(x)).shape == (2, 4, size // 8, size // 8)


def test_a_size_is_found_where_no_example_is_given():
    module = nn.Sequential(conv_bn(3, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 5))
    network = convert(module, QuantConfig())
    assert network.origin.example.shapes() == ((3, 14, 14),)
    module[3] = nn.Linear(5, 5)
    with pytest.raises(NetworkRefused, match=r"no usual size of input fits it, .*example=x\)$"):
        convert(module, QuantConfig())


def test_what_begins_with_a_linear_layer_takes_images_when_they_come():
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3))
    network = convert(module, QuantConfig())
    calibrate(network, [X])
    graph = assert_exact(network, X.numpy())
    assert [type(node).__name__ for node in graph.nodes][:2] == ["Input", "Flatten"]


# The network beside its module.


def wrong_limit(reader, node, operand):
    return limits.clipped(reader, node, reader.value(operand), 0.1, float("inf"))


def wrong_pool(reader, node, **arguments):
    arguments["padding"] = [1, 1]
    return windows._max_pool(reader, node, **arguments)


def wrong_sum(reader, node, operand, other, alpha=1):
    return arithmetic._add(reader, node, operand, operand)


def wrong_norm(reader, node, **arguments):
    return layers._batch_norm(reader, node, **{**arguments, "eps": 1e-3})


def wrong_convolution(reader, node, **arguments):
    return layers._convolution(reader, node, **{**arguments, "bias": None})


@pytest.mark.parametrize(
    ("operator", "rule", "place"),
    [
        ("relu", wrong_limit, "relu is converted to something else, at "),
        ("max_pool2d", wrong_pool, "max_pool2d is converted to something else, at pool "),
        ("add", wrong_sum, "add is converted to something else, at the module itself "),
        ("batch_norm", wrong_norm, "conv2d is converted to something else, at a.0 "),
        ("conv2d", wrong_convolution, "conv2d is converted to something else, at b "),
    ],
)
def test_a_wrong_reader_is_caught_and_the_layer_named(monkeypatch, operator, rule, place):
    def forward(m, x):
        x = m.pool(m.a(x))
        return x + F.relu(m.b(x) + x)

    parts = {"a": conv_bn(3, 4), "pool": nn.MaxPool2d(2), "b": conv(4, 4)}
    monkeypatch.setitem(RULES, getattr(torch.ops.aten, operator), rule)
    with pytest.raises(NetworkRefused) as caught:
        convert(Net(forward, **parts), QuantConfig(), X)
    assert place in str(caught.value) or operator == "relu"
    assert "test_reading.py" in str(caught.value) or "a.0" in str(caught.value)


def test_calibration_compares_on_the_data_unless_the_network_has_learned():
    network = convert(nn.Sequential(conv(3, 4)), QuantConfig(), X)
    network.origin.module[0].weight.data += 1e-3
    with pytest.raises(NetworkRefused, match="conv2d is converted to something else, at 0"):
        calibrate(network, [X])
    with torch.no_grad():
        network.ops["_0"].weight *= 2
    calibrate(network, [X])


def _with_compiled_forward():
    @torch.compile
    def forward(m, x):
        return m.conv(x).relu()

    return Net(forward, conv=conv(3, 4))


def _with_compiled_function():
    doubled = torch.compile(lambda x: x.relu() * 2)
    return Net(lambda m, x: doubled(m.conv(x)), conv=conv(3, 4))


def _compiled_in_place():
    module = nn.Sequential(conv(3, 4), nn.ReLU())
    module.compile()
    return module


#: Of PyTorch itself, when it first compiles.
compiling = pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")


@compiling
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.compile(nn.Sequential(conv(3, 4), nn.ReLU())),
        lambda: nn.Sequential(torch.compile(conv(3, 4)), nn.ReLU()),
        lambda: nn.DataParallel(torch.compile(nn.Sequential(conv(3, 4), nn.ReLU()))),
        _compiled_in_place,
        _with_compiled_forward,
        _with_compiled_function,
    ],
)
def test_what_is_compiled_or_parallel_is_read_as_it_was_written(make):
    network = converted(make())
    assert [type(op).__name__ for op in network.ops.values()][:2] == ["InputOp", "WeightedLayer"]
    assert_exact(network, X.numpy())


@compiling
def test_a_wrapper_is_no_part_of_a_path():
    module = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 2))
    for wrapped in (torch.compile(module), nn.DataParallel(module)):
        assert list(converted(wrapped).ops) == list(converted(module).ops)


def test_a_parameter_expanded_over_the_batch_is_one():
    def forward(m, x):
        return m.conv(x) + m.p.expand(x.shape[0], -1, -1, -1)

    module = Net(forward, conv=conv(3, 4), p=nn.Parameter(torch.randn(1, 4, 1, 1)))
    network = converted(module)
    assert sum(p.numel() for p in network.parameters()) == 3 * 4 * 9 + 4 + 4
    assert_exact(network, X.numpy())


def test_a_module_that_makes_its_input_float32():
    network = converted(Net(lambda m, x: m.conv(x.float().to(torch.float32)), conv=conv(3, 4)))
    assert_exact(network, X.numpy())


def test_a_module_that_changes_its_input_in_place():
    def forward(m, x):
        x -= 0.5
        x.mul_(4)
        return m.conv(x)

    module = Net(forward, conv=conv(3, 4))
    before = X.clone()
    network = converted(module)
    assert_exact(network, X.numpy())
    assert torch.equal(X, before)


def test_a_module_for_one_size_of_batch_is_refused_with_what_it_says():
    module = Net(lambda m, x: m.conv(x) + m.p, conv=conv(3, 4), p=torch.ones(7, 4, 1, 1).clone())
    with pytest.raises(NetworkRefused, match="a constant of shape"):
        convert(module, QuantConfig(), X)
    module = Net(lambda m, x: m.conv(x).view(7, 4, -1), conv=conv(3, 4))
    with pytest.raises(
        NetworkRefused, match=r"it cannot be run on 2 images: .*batches of any size"
    ):
        convert(module, QuantConfig(), X)


class Anchored(nn.Module):
    """As heads of detectors do: places of a grid, kept for the next map of the same shape."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 2)
        self.register_buffer("stride", torch.tensor([8.0]))
        self.seen, self.places, self.step = None, torch.empty(0), torch.empty(0)

    def forward(self, x):
        y = self.conv(x)
        if self.seen != y.shape:
            self.seen = y.shape
            columns = torch.arange(y.shape[3]).type_as(y) + 0.5
            rows = torch.arange(y.shape[2]).type_as(y) + 0.5
            self.places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
            part = y.new_full((y.shape[2] // 2, y.shape[3]), self.stride[0].item())
            self.step = torch.cat((part, torch.full_like(part, 2.0)))
        return (y + self.places) * self.step


def test_places_of_a_grid_are_constants():
    module = Anchored().eval()
    assert_exact(converted(module), X.numpy())
    assert module.seen is None  # the module stays as it is
    module(X)
    assert_exact(converted(module), X.numpy())


def test_a_number_taken_from_a_learned_parameter_is_refused():
    parts = {"c": conv(3, 2), "slope": nn.Parameter(torch.ones(1))}
    module = Net(lambda m, x: F.leaky_relu(m.c(x), m.slope.item()), **parts)
    with pytest.raises(NetworkRefused, match="a number that is taken from a learned parameter"):
        convert(module, QuantConfig(), X)


def test_tensors_and_layers_that_a_module_does_not_own():
    kernel = torch.randn(4, 3, 3, 3)
    outside = [conv(4, 4), nn.ReLU()]
    module = Net(lambda m, x: m.c(outside[1](outside[0](F.conv2d(x, kernel)))), c=conv(4, 2))
    assert_exact(converted(module.eval()), X.numpy())


def test_an_output_with_and_without_its_softmax_is_refused():
    def both(m, x):
        y = m.c(x).mean((2, 3))
        return y.softmax(1), y

    with pytest.raises(NetworkRefused, match="with and without its softmax"):
        convert(Net(both, c=conv(3, 2)), QuantConfig(), X)


@pytest.mark.parametrize("align", [False, True])
def test_one_pixel_is_enlarged_by_any_factor(align):
    """As the branch of the whole map in a spatial pyramid."""

    def pyramid(m, x):
        whole = F.adaptive_avg_pool2d(m.c(x), 1)
        whole = F.interpolate(whole, size=x.shape[2:], mode="bilinear", align_corners=align)
        return m.d(torch.cat((x, whole), 1))

    assert_exact(converted(Net(pyramid, c=conv(3, 2), d=conv(5, 2)).eval()), X.numpy())


def test_tensors_that_a_module_computed_and_keeps_in_a_dictionary():
    """Such as positions by size. A module that ran before it is converted has some."""

    def remembered(m, x):
        key = x.shape[2:]
        if key not in m.known:
            m.known[key] = m.scale * torch.linspace(0.5, 1, 8)
        return m.c(x) * m.known[key].detach()

    module = Net(remembered, c=conv(3, 2)).eval()
    module.scale, module.known = nn.Parameter(torch.ones(8)), {}
    module(X)
    assert not module.known[8, 8].is_leaf
    assert_exact(converted(module), X.numpy())
