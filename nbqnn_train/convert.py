"""From a module of floats to a module of powers of two."""

import copy
import fnmatch

from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.build import build_network
from nbqnn_train.quant.calibration import calibrate_network
from nbqnn_train.quant.config import LayerConfig, QuantConfig
from nbqnn_train.quant.inputs import Batches, checked_inputs
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.tracing import Operation, trace_operations

__all__ = ["LayerConfig", "QuantConfig", "calibrate", "convert"]


def convert(module: nn.Module, config: QuantConfig) -> QuantNetwork:
    """A quantized copy of ``module``, with its weights; ``module`` stays as it is.

    Convolution and linear layers become one unit with the batch norm and ReLU that follow them. The
    result trains like any module; call :func:`calibrate` before its activations are quantized.

    Raises :class:`NbqnnError` where the module cannot be traced, or with every operation that is
    not supported, by module path; or for a pattern of ``config.overrides`` that matches no layer.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"Module must be a torch.nn.Module, not {module!r}")
    if not isinstance(config, QuantConfig):
        raise TypeError(f"Configuration must be a QuantConfig, not {config!r}")
    operations = trace_operations(copy.deepcopy(module))
    _check_patterns(config, operations)
    return build_network(operations, config)


def _check_patterns(config: QuantConfig, operations: list[Operation]) -> None:
    paths = [operation.path for operation in operations if operation.path]
    for pattern in config.overrides:
        if not fnmatch.filter(paths, pattern):
            raise NbqnnError(
                f"Override {pattern!r} must match a layer: one of {', '.join(dict.fromkeys(paths))}"
            )


def calibrate(module: QuantNetwork, batches: Batches) -> None:
    """Chooses the format of every activation of a converted module from real inputs.

    ``batches`` holds inputs (N, C, H, W), or pairs of inputs and labels as a ``DataLoader`` gives
    them; a few hundred images are plenty. Raises :class:`NbqnnError` where there is no batch, or
    for one that is not of finite real numbers or does not fit the network.
    """
    if not isinstance(module, QuantNetwork):
        raise TypeError(f"Module must come from convert, not be {type(module).__name__}")
    calibrate_network(module, checked_inputs(module, batches))
