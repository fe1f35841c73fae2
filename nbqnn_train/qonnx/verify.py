"""Compares an imported graph with its model, which onnxruntime and qonnx evaluate."""

import os
import warnings
from collections.abc import Mapping
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


def verify(
    path: str | os.PathLike, imported: Imported, images: np.ndarray | Mapping[str, np.ndarray]
) -> Verification:
    """Runs the model in ``path`` and its graph on ``images``, as the graph takes them. Compares
    outputs.

    images : of the only input, or by the name of each.

    Raises :class:`GraphError` for images that do not fit, or where the executors fail.
    """
    graph = imported.graph
    given = _by_name(path, imported, images)
    results = run(graph, given)
    results = results if isinstance(results, tuple) else (results,)
    types = tensor_types(graph)
    reference = _Reference(path, imported)
    mismatches, values, first = 0, 0, None
    count = len(next(iter(given.values())))
    for number in range(count):
        expected = reference.run({name: x[number : number + 1] for name, x in given.items()})
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
    return Verification(count, values, mismatches, first, rounded)


def _by_name(path: str | os.PathLike, imported: Imported, images) -> dict[str, np.ndarray]:
    """Images by the name of each input, in the shape that it has."""
    nodes = {node.name: node for node in imported.graph.input_nodes}
    if not isinstance(images, Mapping):
        images = {next(iter(nodes)): images}
    if images.keys() != nodes.keys():
        raise GraphError(
            f"Model {str(path)!r} must be given images for its inputs {', '.join(nodes)}, by these "
            "names in an .npz file where there are several"
        )
    found = {}
    for name, node in nodes.items():
        x = images[name]
        fits = x.ndim == 1 + len(node.shape) or x[0].size != np.prod(node.shape)
        found[name] = x if fits else x.reshape(len(x), *node.shape)
    return found


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
        self.types = {info.name: info.type.tensor_type for info in self.proto.graph.input}
        self.dtype_of = onnx.helper.tensor_dtype_to_np_dtype

    def run(self, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every tensor of the model for one image of each input, (1, *shape in the graph)."""
        context = dict(self.constants)
        for node in self.imported.graph.input_nodes:
            image, kind = images[node.name], self.types[node.name]
            dtype = self.dtype_of(kind.elem_type)
            if dtype.kind in "iu":
                image = quantize_input(node, image)
            if node.name in self.imported.channels_last:
                image = np.moveaxis(image, 1, -1)
            shape = tuple(dim.dim_value for dim in kind.shape.dim)
            context[node.name] = np.ascontiguousarray(image.reshape(shape), dtype)
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
