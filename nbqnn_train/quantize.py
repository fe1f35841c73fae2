"""Post-training quantization: a trained network and some inputs, without labels, in minutes."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nbqnn_train.convert import QuantConfig, convert
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.calibration import calibrate_network, estimate_means
from nbqnn_train.quant.inputs import Batches, read_inputs
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.real import real_values
from nbqnn_train.quant.self_check import check_network
from nbqnn_train.quant.sequential import round_network

__all__ = ["quantize"]

#: With fewer inputs nothing can be held out, and moments say nothing.
_FEWEST = 16
#: Of so many inputs one is held out to choose between ways to finish.
_HELD_OUT = 8
#: Inputs on which the network is compared with its module first.
_CHECKED = 4
#: Inputs computed at a time.
_BATCH = 32
#: How names of what is added to outputs end.
_OFFSETS = ("bias", "running_mean")

#: Steps done, of how many, and what was done last.
Progress = Callable[[int, int, str], None]


def quantize(
    module: nn.Module,
    batches: Batches,
    config: QuantConfig,
    *,
    images: int = 1024,
    seed: int = 0,
    example=None,
    progress: Progress | None = None,
) -> QuantNetwork:
    """A quantized copy of a trained ``module``, in evaluation mode: what is exported, to the bit.

    Weights are rounded layer by layer, with the inputs that the quantized layers before give, so
    that errors make up for each other. Then means are restored, and formats of activations are
    chosen for the final weights. Neither labels nor gradients are used. A layer with neither bias
    nor batch norm gets a bias.

    batches : inputs (N, C, H, W), or pairs of inputs and labels as a ``DataLoader`` gives them, as
        the network was trained with; a few hundred plain ones are plenty.
    images : at most so many are read; their activations are in memory together.
    seed : of the positions in maps that are looked at. Equal arguments give equal results.
    example : for a module that takes several inputs or has unusual ones; see
        :func:`nbqnn_train.convert.convert`.
    progress : called after each layer, and after what follows.

    Raises :class:`NbqnnError` where ``module`` cannot be converted, a weight or an input is not
    finite, an input does not fit the network or is not of real numbers, or there are fewer than 16.
    """
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise NbqnnError(f"Seed must be in 0..{(1 << 32) - 1}, not {seed!r}")
    network = convert(module, config, example)
    inputs = _read(network, batches, images)
    check_network(network, [part[:_CHECKED] for part in inputs])
    _unshare(network)
    report = _Report(progress, len(network.weighted_layers()) + 2)
    kept = torch.arange(len(inputs[0])) % _HELD_OUT != 0
    held_out, seen = _batches(inputs, ~kept), _batches(inputs, kept)
    wanted = [_real_outputs(network, batch) for batch in held_out]
    network.mode.blend = 0.0  # formats of real weights' outputs
    calibrate_network(network, seen)
    network.mode.blend, network.mode.refresh = 1.0, False
    report("formats")
    offsets = _offsets(network)
    round_network(network, seen, torch.Generator().manual_seed(seed), report)
    _finish(network, seen, offsets, list(zip(held_out, wanted, strict=True)))
    report("means")
    return network.eval()


class _Report:
    """Counts what is done for a :data:`Progress`."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, what: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total, what)


def _unshare(network: QuantNetwork) -> None:
    """Gives every layer weights of its own: what is best depends on the layer's inputs."""
    for op in network.ops.values():
        if getattr(op, "norm", None) is not None:
            op.norm = copy.deepcopy(op.norm)
    for layer in network.weighted_layers().values():
        layer.weight = copy.deepcopy(layer.weight)
        layer.bias = copy.deepcopy(layer.bias)


def _read(network: QuantNetwork, batches: Batches, most: int) -> list[Tensor]:
    """All that is read of each input."""
    if type(most) is not int or most < _FEWEST:
        raise NbqnnError(f"Images to quantize with must be at least {_FEWEST}, not {most!r}")
    parts = read_inputs(network, batches, most)
    count = sum(len(part[0]) for part in parts)
    if count < _FEWEST:
        raise NbqnnError(f"Images to quantize with must be at least {_FEWEST}, not {count}")
    return [torch.cat(columns) for columns in zip(*parts, strict=True)]


def _batches(inputs: list[Tensor], chosen: Tensor) -> list[tuple[Tensor, ...]]:
    chosen = chosen.to(inputs[0].device)
    return list(zip(*(part[chosen].split(_BATCH) for part in inputs), strict=True))


def _real_outputs(network: QuantNetwork, batch: tuple[Tensor, ...]) -> list[Tensor]:
    shapes = tuple(tuple(part.shape[1:]) for part in batch)
    return network.returned(real_values(network, *batch), shapes)


def _offsets(network: QuantNetwork) -> dict[str, Tensor]:
    """What is added to the outputs of layers, or subtracted as a mean."""
    state = network.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if name.endswith(_OFFSETS)}


def _set_offsets(network: QuantNetwork, offsets: dict[str, Tensor]) -> None:
    """Sets them; a bias that is not among ``offsets`` becomes zero."""
    for name, tensor in network.state_dict().items():
        if name.endswith(_OFFSETS):
            tensor.copy_(offsets.get(name, torch.zeros_like(tensor)))


def _finish(
    network: QuantNetwork,
    seen: list[tuple[Tensor, ...]],
    before: dict[str, Tensor],
    held_out: list[tuple[tuple[Tensor, ...], list[Tensor]]],
) -> None:
    """Keeps the best of three sets of offsets, by the outputs for inputs that were held out.

    One set restored each layer's means, one is ``before``, and one has the means of batch norm in
    the quantized network.
    """
    calibrate_network(network, seen)
    candidates = [_offsets(network), before]
    if any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in network.modules()):
        estimate_means(network, seen)
        candidates.append(_offsets(network))
    errors = []
    for offsets in candidates:
        _set_offsets(network, offsets)
        errors.append(_distance(network.eval(), held_out))
    best = errors.index(min(errors))
    _set_offsets(network, candidates[best])
    if best:  # other offsets, other ranges
        calibrate_network(network, seen)


def _distance(
    network: QuantNetwork, held_out: list[tuple[tuple[Tensor, ...], list[Tensor]]]
) -> float:
    """Sum of the squared errors of outputs."""
    total = 0.0
    with torch.no_grad():
        for batch, wanted in held_out:
            for output, real in zip(pytree.tree_leaves(network(*batch)), wanted, strict=True):
                total += float((output - real).square().sum(dtype=torch.float64))
    return total
