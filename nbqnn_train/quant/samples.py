"""Inputs that a network is quantized with: those that are seen, and those that are held out."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.calibration import calibrate_network
from nbqnn_train.quant.inputs import Batches, read_inputs
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.own import give_biases, unshare
from nbqnn_train.quant.real import real_values
from nbqnn_train.quant.self_check import check_network

__all__ = ["Samples", "choose_formats", "read_samples", "seeded_generator"]

#: With fewer inputs nothing can be held out, and moments say nothing.
_FEWEST = 16
#: Of so many inputs one is held out.
_HELD_OUT = 8
#: Inputs on which the network is compared with its module first.
_CHECKED = 4
#: Inputs computed at a time.
_BATCH = 32
_LARGEST_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class Samples:
    """Batches of inputs; each is a tuple with what the network takes.

    seen : for weights and formats.
    held_out : to choose by, with the outputs of the network without quantization.
    """

    seen: list[tuple[Tensor, ...]]
    held_out: list[tuple[tuple[Tensor, ...], list[Tensor]]]

    def distance(self, network: QuantNetwork) -> float:
        """Sum of the squared errors of the outputs of ``network`` for inputs that are held out."""
        total = 0.0
        with torch.no_grad():
            for batch, wanted in self.held_out:
                found = [o for o in pytree.tree_leaves(network(*batch)) if o is not None]
                for output, real in zip(found, wanted, strict=True):
                    total += float((output - real).square().sum(dtype=torch.float64))
        return total


def read_samples(
    network: QuantNetwork, batches: Batches, most: int
) -> tuple[QuantNetwork, Samples]:
    """``network`` with weights of its own in every layer, and at most ``most`` inputs.

    Raises :class:`NbqnnError` for inputs that do not fit, for fewer than 16, and where the network
    computes something else than its module on the first of them.
    """
    inputs = _read(network, batches, most)
    check_network(network, [part[:_CHECKED] for part in inputs])
    unshare(network)
    give_biases(network)
    kept = torch.arange(len(inputs[0])) % _HELD_OUT != 0
    held_out = _batches(inputs, ~kept)
    wanted = [_real_outputs(network, batch) for batch in held_out]
    return network, Samples(_batches(inputs, kept), list(zip(held_out, wanted, strict=True)))


def seeded_generator(seed: int) -> torch.Generator:
    """A generator that begins with ``seed``.

    Raises :class:`NbqnnError` unless it is an integer in 0...2**32 - 1.
    """
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise NbqnnError(f"Seed must be in 0..{_LARGEST_SEED}, not {seed!r}")
    return torch.Generator().manual_seed(seed)


def choose_formats(network: QuantNetwork, samples: Samples) -> None:
    """Chooses formats of activations for the outputs of real weights, and keeps the weights."""
    network.mode.blend = 0.0
    calibrate_network(network, samples.seen)
    network.mode.blend, network.mode.refresh = 1.0, False


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
