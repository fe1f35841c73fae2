"""Reading an ONNX file: constants, attributes and shapes, without executing anything."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import GraphError, NbqnnError
from nbqnn_train.graph.limits import MAX_DIMENSION

__all__ = ["Model", "Operator", "read_model", "require_onnx"]


@dataclass(frozen=True)
class Operator:
    """One node of the model."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict

    @property
    def what(self) -> str:
        """How messages call it."""
        # The kind of a damaged model's operator can be anything.
        readable = isinstance(self.kind, str) and self.kind.isprintable()
        kind = self.kind if readable else repr(self.kind)
        return f"{kind} {self.name!r}"

    def integer(self, name: str, default: int | None = None) -> int:
        """Attribute ``name``; :class:`GraphError` where it is none."""
        value = self.attributes.get(name, default)
        if type(value) is not int:
            raise GraphError(f"{self.what}: {name} must be an integer, not {value!r}")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Attribute ``name``; :class:`GraphError` where it holds others."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(type(v) is int for v in value):
            raise GraphError(f"{self.what}: {name} must be integers, not {value!r}")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        """Attribute ``name`` in upper case; :class:`GraphError` where it is no text."""
        value = self.attributes.get(name, default.encode())
        if not isinstance(value, bytes):
            raise GraphError(f"{self.what}: {name} must be text, not {value!r}")
        return value.decode("ascii", "replace").upper()

    def number(self, name: str, default: float) -> float:
        """Attribute ``name``; :class:`GraphError` where it is none."""
        value = self.attributes.get(name, default)
        if type(value) not in (int, float):
            raise GraphError(f"{self.what}: {name} must be a number, not {value!r}")
        return value


@dataclass(frozen=True)
class Model:
    """Operators in order, constants by name, inputs with shapes (batch left out), output names."""

    operators: tuple[Operator, ...]
    constants: dict[str, np.ndarray]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def require_onnx():
    """The ``onnx`` package; one clear line where it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise NbqnnError("QONNX needs the package onnx: pip install onnx") from error
    return onnx


def read_model(path: str | os.PathLike) -> Model:
    """The model in ``path``; :class:`GraphError` for anything but a valid one in one file."""
    onnx = require_onnx()
    from google.protobuf.message import DecodeError
    from onnx import helper, numpy_helper

    where = f"QONNX file {str(path)!r}"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise GraphError(f"{where} cannot be read: {error.strerror}") from error
    # Besides its own errors the package lets those of its parsers through, such as bad UTF-8.
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
        for tensor in model.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError(f"tensor {tensor.name!r} must lie in the file itself")
        constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        operators = []
        for node in model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant" and isinstance(attributes.get("value"), onnx.TensorProto):
                constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
                continue
            operators.append(
                Operator(
                    kind=node.op_type,
                    name=node.name or node.output[0],
                    inputs=tuple(node.input),
                    outputs=tuple(node.output),
                    attributes=attributes,
                )
            )
    except (
        DecodeError,
        onnx.checker.ValidationError,
        IndexError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise GraphError(f"{where} must be a valid ONNX model: {_first_line(error)}") from error
    for name, values in constants.items():
        if values.dtype.kind not in "iuf" or values.size == 0:
            raise GraphError(f"{where}: tensor {name!r} must hold numbers, not {values.dtype}")
    inputs = {}
    for info in model.graph.input:
        if info.name not in constants:
            shape = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)[1:]
            if len(shape) not in (1, 3) or not all(0 < size <= MAX_DIMENSION for size in shape):
                raise GraphError(
                    f"{where}: input {info.name!r} must have the shape (N, C, H, W) or (N, F), "
                    f"each size behind N in 1..{MAX_DIMENSION}"
                )
            inputs[info.name] = shape
    return Model(tuple(operators), constants, inputs, tuple(o.name for o in model.graph.output))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
