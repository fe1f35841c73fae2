"""Reading an ONNX file: constants, attributes and shapes, without executing anything."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import GraphError

__all__ = ["Model", "Operator", "read_model"]


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
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Model:
    """Operators in order, constants by name, inputs with shapes (batch left out), output names."""

    operators: tuple[Operator, ...]
    constants: dict[str, np.ndarray]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def read_model(path: str | os.PathLike) -> Model:
    """The model in ``path``; :class:`GraphError` for anything but a valid one in one file."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import helper, numpy_helper

    where = f"QONNX file {str(path)!r}"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise GraphError(f"{where} cannot be read: {error.strerror}") from error
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise GraphError(f"{where} must be a valid ONNX model: {_first_line(error)}") from error
    graph = model.graph
    constants = {}
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise GraphError(f"{where}: tensor {tensor.name!r} must lie in the file itself")
        constants[tensor.name] = numpy_helper.to_array(tensor)
    operators = []
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
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
    inputs = {}
    for info in graph.input:
        if info.name not in constants:
            shape = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)[1:]
            if len(shape) not in (1, 3) or min(shape) < 1:
                raise GraphError(
                    f"{where}: input {info.name!r} must have the shape (N, C, H, W) or (N, F) with "
                    "fixed sizes behind N"
                )
            inputs[info.name] = shape
    return Model(tuple(operators), constants, inputs, tuple(o.name for o in graph.output))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
