"""Post-training quantization: a trained network and some inputs, without labels, in minutes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbqnn_train.convert import QuantConfig, convert_for
from nbqnn_train.quant.calibration import calibrate_network, estimate_means
from nbqnn_train.quant.inputs import Batches
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.samples import Samples, choose_formats, read_samples, seeded_generator
from nbqnn_train.quant.sequential import round_network

__all__ = ["quantize"]

#: How names of what is added to outputs end.
_OFFSETS = ("bias", "running_mean")

#: Steps done, of how many, and what was done last.
Progress = Callable[[int, int, str], None]


@torch.inference_mode(False)
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
    example : for a module that takes several inputs; see :func:`nbqnn_train.convert.convert`.
        Without one the first batch is the example.
    progress : called after each layer, and after what follows.

    Raises :class:`NbqnnError` where ``module`` cannot be converted, a weight or an input is not
    finite, an input does not fit the network or is not of real numbers, there are fewer than 16,
    or ``seed`` is not in 0...2**32 - 1.
    """
    generator = seeded_generator(seed)
    network, samples = read_samples(*convert_for(module, config, batches, example), images)
    report = _Report(progress, len(network.weighted_layers()) + 2)
    choose_formats(network, samples)
    report("formats")
    offsets = _offsets(network)
    round_network(network, samples.seen, generator, report)
    _finish(network, samples, offsets)
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


def _offsets(network: QuantNetwork) -> dict[str, Tensor]:
    """What is added to the outputs of layers, or subtracted as a mean."""
    state = network.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if name.endswith(_OFFSETS)}


def _set_offsets(network: QuantNetwork, offsets: dict[str, Tensor]) -> None:
    """Sets them; a bias that is not among ``offsets`` becomes zero."""
    for name, tensor in network.state_dict().items():
        if name.endswith(_OFFSETS):
            tensor.copy_(offsets.get(name, torch.zeros_like(tensor)))


def _finish(network: QuantNetwork, samples: Samples, before: dict[str, Tensor]) -> None:
    """Keeps the best of three sets of offsets, by the outputs for inputs that were held out.

    One set restored each layer's means, one is ``before``, and one has the means of batch norm in
    the quantized network.
    """
    calibrate_network(network, samples.seen)
    candidates = [_offsets(network), before]
    if any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in network.modules()):
        estimate_means(network, samples.seen)
        candidates.append(_offsets(network))
    errors = []
    for offsets in candidates:
        _set_offsets(network, offsets)
        errors.append(samples.distance(network.eval()))
    best = errors.index(min(errors))
    _set_offsets(network, candidates[best])
    if best:  # other offsets, other ranges
        calibrate_network(network, samples.seen)
