"""Reads an ONNX file as a module, and compares the two."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.from_onnx.network import OnnxNetwork, built
from nbqnn_train.qonnx.cleanup import clean, with_one_image
from nbqnn_train.qonnx.files import read_proto
from nbqnn_train.qonnx.model import Model, first_line, require_onnx

__all__ = ["is_onnx_file", "onnx_network", "whole_model"]

#: Number of random images on which module and file are compared.
_IMAGES = 2
#: Largest difference, as a share of the largest output. Rounding in float32 explains so much.
_NOISE = 1e-3


def is_onnx_file(name: str) -> bool:
    """Whether ``name``, which says a model, is that of an ONNX file."""
    return name.endswith(".onnx")


def whole_model(path: Path) -> bytes:
    """The model in ``path`` as one file, including data that lie in files beside it."""
    return read_proto(path, "Model").SerializeToString()


def onnx_network(path: Path) -> nn.Module:
    """The network in ``path``, in evaluation mode, with its weights and statistics of batch norm.

    The weights can be trained further; batches can have any size. Raises :class:`NbqnnError` if the
    file is not ONNX, if operators are not supported (all at once), or if module and onnxruntime
    compute different things.
    """
    where = f"Model {str(path)!r}"
    proto = read_proto(path, "Model")
    model = clean(proto, where)
    try:
        network = built(model)
    except NbqnnError as error:
        raise NbqnnError(f"{where}: {error}") from None
    _compare(where, network, model, with_one_image(proto))
    return network


def _compare(where: str, network: OnnxNetwork, model: Model, proto) -> None:
    """Raises :class:`NbqnnError` unless module and file give the same for each image of a batch."""
    session = _session(where, proto)
    generator = np.random.default_rng(0)
    images = [_noise(item, model, generator) for item in model.inputs]
    try:
        with torch.no_grad():
            found = network(*(torch.from_numpy(each) for each in images))
    except Exception as error:  # PyTorch raises anything where shapes do not fit
        raise NbqnnError(f"{where} cannot be run as a module: {first_line(error)}") from None
    found = [found] if isinstance(found, Tensor) else found
    types = {entry.name: entry.type for entry in session.get_inputs()}
    for number in range(_IMAGES):
        given = {}
        for item, each in zip(model.inputs, images, strict=True):
            one = each[number : number + 1]
            one = np.moveaxis(one, 1, -1) if item.channels_last else one
            given[item.name] = one.astype(_DTYPES.get(types[item.name], np.float32))
        try:
            expected = session.run(list(model.outputs), given)
        except Exception as error:  # onnxruntime has its own
            raise NbqnnError(f"{where} cannot be run: {first_line(error)}") from None
        for name, own, wanted in zip(model.outputs, found, expected, strict=True):
            if not _equal(own[number : number + 1].numpy(), np.asarray(wanted)):
                raise NbqnnError(
                    f"{where}: output {name!r} of the module is not that of the file; remedy: "
                    "FILE.py:function for the module that it was exported from"
                )


_DTYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64}


def _noise(item, model: Model, generator: np.random.Generator) -> np.ndarray:
    shape = item.shape if item.channels_last else model.shapes[item.name][1:]
    if item.integers is not None:
        raise NbqnnError(f"Input {item.name!r} must hold floating point, not integers")
    return generator.normal(size=(_IMAGES, *shape)).astype(np.float32)


def _session(where: str, proto):
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options)
    except Exception as error:  # onnxruntime has its own
        raise NbqnnError(f"{where} cannot be run: {first_line(error)}") from None


def _equal(found: np.ndarray, wanted: np.ndarray) -> bool:
    if found.size != wanted.size:
        return False
    found = found.reshape(wanted.shape)
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    largest = float(np.abs(wanted).max(initial=0.0, where=np.isfinite(wanted)))
    return bool(np.allclose(found, wanted, rtol=0, atol=_NOISE * largest + 1e-30, equal_nan=True))
