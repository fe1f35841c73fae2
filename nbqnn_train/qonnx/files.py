"""Reads an ONNX file that need not be trusted: the whole file, data from its folder only, and no
larger in memory than on disk."""

import os
from pathlib import Path

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import MAX_NODES

from .model import first_line, require_onnx

__all__ = ["QUANTIZERS", "read_proto"]

#: Operators of QONNX, and all names that its domain has had.
QUANTIZERS = ("BipolarQuant", "IntQuant", "Quant", "Trunc")
_OLD_DOMAINS = ("", "finn", "finn.custom_op.general", "onnx.brevitas", "qonnx.custom_op.general")
_DOMAIN = "qonnx.custom_op.general"


def read_proto(path: str | os.PathLike, what: str = "QONNX file"):
    """The ``ModelProto`` in ``path``, checked. Quantizers are in QONNX's present domain.

    what : name of the model in messages. Raises :class:`GraphError` for anything but a valid model.
    """
    onnx = require_onnx()
    from google.protobuf.message import DecodeError

    path = Path(path)
    where = f"{what} {str(path)!r}"
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise GraphError(f"{where} cannot be read: not a file")
        data = path.read_bytes()
    except OSError as error:
        raise GraphError(f"{where} cannot be read: {error.strerror}") from error
    # The package raises its own errors and those of its parsers, as for bad UTF-8.
    try:
        model = onnx.load_model_from_string(data)
        if len(model.graph.node) > MAX_NODES:
            raise ValueError(f"at most {MAX_NODES} operators are allowed")
        if model.graph.sparse_initializer:
            name = model.graph.sparse_initializer[0].values.name
            raise ValueError(f"tensor {name!r} is sparse, which is not supported")
        _renew_domains(onnx, model)
        names = [info.name for info in model.graph.output]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"output {name!r} is listed {names.count(name)} times")
        for info in model.graph.output:
            # A missing shape is no fault: nothing reads it.
            info.type.tensor_type.shape.SetInParent()
        _load_external(onnx, model, path.parent)
        onnx.checker.check_model(model)
    except (
        DecodeError,
        onnx.checker.ValidationError,
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise GraphError(f"{where} must be a valid ONNX model: {first_line(error)}") from error
    return model


def _renew_domains(onnx, model) -> None:
    """Moves quantizers to ``qonnx.custom_op.general`` and imports every domain, so that unknown
    operators can be refused by name. ONNX's own domain has its short name."""
    for named in (*model.graph.node, *model.opset_import):
        if named.domain == "ai.onnx":
            named.domain = ""
    for node in model.graph.node:
        if node.op_type in QUANTIZERS and node.domain in _OLD_DOMAINS:
            node.domain = _DOMAIN
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for opset in model.opset_import:
        if opset.version != versions[opset.domain]:
            raise ValueError(
                f"operators of domain {opset.domain or 'ai.onnx'!r} must have one version, not "
                f"{opset.version} and {versions[opset.domain]}"
            )
    for domain in dict.fromkeys(node.domain for node in model.graph.node):
        if domain and domain not in versions:
            old = max((versions.get(name, 1) for name in _OLD_DOMAINS if name), default=1)
            model.opset_import.append(
                onnx.helper.make_opsetid(domain, old if domain == _DOMAIN else 1)
            )


def _tensors(model):
    """Every tensor of the model's graph, constants' values included."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _load_external(onnx, model, folder: Path) -> None:
    """Reads data that lie in files beside the model into it, never from outside its folder."""
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder.resolve()):
            raise ValueError(
                f"data of {tensor.name!r} must lie in the model's folder, not in {location!r}"
            )
        if not file.is_file():
            raise ValueError(f"file {location!r} with data of {tensor.name!r} is missing")
        size, offset = file.stat().st_size, int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(
                f"data of {tensor.name!r} must lie in the {size} bytes of {location!r}"
            )
        with file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
