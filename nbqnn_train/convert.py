"""From a module of floats to a module of powers of two."""

import fnmatch
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np
import torch
from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.build import build_network
from nbqnn_train.quant.calibration import calibrate_network
from nbqnn_train.quant.config import LayerConfig, QuantConfig
from nbqnn_train.quant.domains import check_domains
from nbqnn_train.quant.inputs import Batches, as_tensor, checked_inputs
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.origin import Origin
from nbqnn_train.quant.reading.example import read_without_example
from nbqnn_train.quant.reading.operations import Operation
from nbqnn_train.quant.reading.program import Example, private_copy
from nbqnn_train.quant.reading.read import read_network
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal
from nbqnn_train.quant.reading.wrappers import unwrapped
from nbqnn_train.quant.self_check import check_network, fingerprint, is_fresh
from nbqnn_train.quant.widths import check_widths

__all__ = [
    "LayerConfig",
    "NetworkRefused",
    "QuantConfig",
    "Refusal",
    "calibrate",
    "convert",
    "convert_for",
]

#: Inputs on which a network is compared with its module when it is calibrated.
_CHECKED = 4


@torch.inference_mode(False)  # within one, nothing would learn
def convert(module: nn.Module, config: QuantConfig, example=None) -> QuantNetwork:
    """A quantized copy of ``module``, with its weights; ``module`` stays as it is.

    Convolution and linear layers become one unit with the batch norm and ReLU that follow them. The
    result is in training mode and trains like any module; call :func:`calibrate` before its
    activations are quantized.
    Without quantization it computes what ``module`` does in evaluation: that is checked here, on
    noise. ``notes`` of the result says what else was noticed.

    example : an input with the batch in front; a tuple of arguments or a dict of keyword arguments
        where the module takes several. Without one, sizes that fit are tried. Inputs of other sizes
        are then computed rightly, or refused when they come.

    Raises :class:`NetworkRefused` with everything that is not supported, where, and what helps
    (``refusals``), for layers whose sums might not fit an accumulator, and for functions that have
    no value at 0, or below where their input can be; :class:`NbqnnError` for weights that are no
    numbers, and for a pattern of ``config.overrides`` that matches no layer.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"Module must be a torch.nn.Module, not {module!r}")
    if not isinstance(config, QuantConfig):
        raise TypeError(f"Configuration must be a QuantConfig, not {config!r}")
    module = unwrapped(module)
    for path, part in module.named_modules():
        if isinstance(part, QuantNetwork):
            raise NbqnnError(
                f"{path or 'Module'} must be in full precision, not converted already; remedy: "
                "give the module that it was made of"
            )
    device = next((p.device for p in module.parameters()), None)
    private = private_copy(module).cpu()
    guessed = example is None
    if guessed:
        example, reading = read_without_example(private)
    else:
        example = Example.of(example)
        reading = read_network(private, example)
    _check_patterns(config, reading.operations)
    network = build_network(reading, config)
    check_widths(network, type(module).__name__)
    check_domains(network, type(module).__name__)
    network.origin = Origin(private, example, reading, guessed=guessed)
    check_network(network)
    network.origin.fingerprint = fingerprint(network)
    network.train()  # dropout came in evaluation mode, with the copy of the module
    return network if device is None else network.to(device)


def convert_for(
    module: nn.Module, config: QuantConfig, batches: Batches, example=None
) -> tuple[QuantNetwork, Batches]:
    """:func:`convert`, and the batches; without an example the first batch is one if it can be."""
    if example is not None or isinstance(batches, torch.Tensor | np.ndarray):
        return convert(module, config, example), batches
    iterator = iter(batches) if isinstance(batches, Iterable) else iter(())
    first = list(islice(iterator, 1))
    whole = chain(first, iterator) if first else batches
    for batch in first:
        found = as_tensor(batch[0] if isinstance(batch, tuple | list) and batch else batch)
        if isinstance(found, torch.Tensor) and found.dim() > 1 and found.is_floating_point():
            try:
                return convert(module, config, found[:1].detach().cpu()), whole
            except NetworkRefused:
                break  # of another size, perhaps, which is said when the batch is read
    return convert(module, config), whole


def _check_patterns(config: QuantConfig, operations: list[Operation]) -> None:
    paths = dict.fromkeys(operation.path for operation in operations if operation.path)
    for pattern in config.overrides:
        if not fnmatch.filter(paths, pattern):
            known = f": one of {', '.join(paths)}" if paths else ", but the network has none"
            raise NbqnnError(f"Override {pattern!r} must match a layer{known}")


@torch.inference_mode(False)
def calibrate(module: QuantNetwork, batches: Batches) -> None:
    """Chooses the format of every activation of a converted module from real inputs.

    ``batches`` holds inputs (N, C, H, W), or pairs of inputs and labels as a ``DataLoader`` gives
    them; a few hundred images are plenty. Raises :class:`NbqnnError` where there is no batch, or
    for one that is not of finite real numbers or does not fit the network, or where the network
    computes something else than its module on the first of them.
    """
    if not isinstance(module, QuantNetwork):
        raise TypeError(f"Module must come from convert, not be {type(module).__name__}")
    calibrate_network(module, _checked_first(module, checked_inputs(module, batches)))


def _checked_first(network: QuantNetwork, batches: Iterator) -> Iterator:
    """``batches`` as they are; on a few inputs of the first one, the network is compared with its
    module, if it has not learned since."""
    for number, batch in enumerate(batches):
        if number == 0 and is_fresh(network):
            parts = batch if isinstance(batch, tuple) else (batch,)
            check_network(network, [part[:_CHECKED] for part in parts])
        yield batch
