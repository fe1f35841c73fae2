"""Compares an imported graph with its model, which onnxruntime and qonnx evaluate."""

import os
import warnings
from dataclasses import dataclass

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.infer import tensor_types
from nbqnn_train.graph.interpreter import quantize_input, run

from .cleanup import with_one_image
from .executor import Executor
from .files import read_proto
from .importer import Imported
from .model import first_line, require_onnx

__all__ = ["Difference", "Verification", "verify"]


@dataclass(frozen=True)
class Difference:
    """The first difference of graph and model, in codes of the graph."""

    image: int
    output: str
    position: int
    code: int
    model: float


@dataclass(frozen=True)
class Verification:
    """The result of a comparison.

    mismatches : number of codes that differ from the model's; in outputs that the model does not
        quantize, by more than one step.
    rounded : names of such outputs.
    """

    images: int
    values: int
    mismatches: int
    first: Difference | None
    rounded: tuple[str, ...]


def verify(path: str | os.PathLike, imported: Imported, images: np.ndarray) -> Verification:
    """Runs the model in ``path`` and its graph on ``images``, as the graph takes them. Compares
    outputs.

    Raises :class:`GraphError` for images that do not fit, or where the executors fail.
    """
    graph = imported.graph
    if len(graph.input_nodes) != 1:
        raise GraphError(
            f"Model {str(path)!r}: must have one input to be compared, not {len(graph.input_nodes)}"
        )
    (node,) = graph.input_nodes
    if images.ndim != 1 + len(node.shape) and images[0].size == np.prod(node.shape):
        images = images.reshape(len(images), *node.shape)
    results = run(graph, images)
    results = results if isinstance(results, tuple) else (results,)
    types = tensor_types(graph)
    reference = _Reference(path, imported)
    mismatches, values, first = 0, 0, None
    for number in range(len(images)):
        expected = reference.run(images[number : number + 1])
        for output, codes in zip(imported.outputs, results, strict=True):
            own = codes[number].reshape(-1)
            real = np.asarray(expected[output.tensor], dtype=np.float64)
            if output.tensor in imported.turned:
                real = np.moveaxis(real, -1, 1)
            real = real.reshape(-1)
            if real.size != own.size:
                raise GraphError(
                    f"Output {output.tensor!r}: the model has {real.size} numbers, not {own.size}"
                )
            steps = np.ldexp(real, -types[output.node].exponent)
            wrong = ~(np.abs(steps - own) <= (1 if output.rounded else 0))
            values += own.size
            mismatches += int(wrong.sum())
            if first is None and wrong.any():
                at = int(np.argmax(wrong))
                first = Difference(number, output.node, at, int(own[at]), float(steps[at]))
    rounded = tuple(output.node for output in imported.outputs if output.rounded)
    return Verification(len(images), values, mismatches, first, rounded)


class _Reference:
    """The model, operator by operator, one image at a time."""

    def __init__(self, path: str | os.PathLike, imported: Imported):
        onnx = require_onnx()
        self.imported = imported
        self.proto = with_one_image(read_proto(path))
        self.executor = Executor(self.proto)
        self.constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in self.proto.graph.initializer
        }
        self.input = next(
            info for info in self.proto.graph.input if info.name not in self.constants
        )
        kind = self.input.type.tensor_type
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        self.shape = tuple(dim.dim_value for dim in kind.shape.dim)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every tensor of the model for ``image``, (1, *shape of the graph's input)."""
        if self.dtype.kind in "iu":
            image = quantize_input(self.imported.graph.input_nodes[0], image)
        if self.input.name in self.imported.channels_last:
            image = np.moveaxis(image, 1, -1)
        context = dict(self.constants)
        context[self.input.name] = np.ascontiguousarray(image.reshape(self.shape), self.dtype)
        for node in self.proto.graph.node:
            try:
                inputs = {name: context[name] for name in node.input if name}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    context.update(self.executor.run(node, inputs))
            except Exception as error:
                name = node.name or node.output[0]
                raise GraphError(
                    f"{node.op_type} {name!r} cannot be evaluated: {first_line(error)}"
                ) from error
        return context
