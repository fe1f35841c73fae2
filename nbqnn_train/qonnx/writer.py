"""Builds a model operator by operator, and writes its file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.files import write_file
from nbqnn_train.graph.nodes import Graph

__all__ = ["QUANT_DOMAIN", "Tensor", "Writer", "write_model"]

_OPSET = 13
#: Version of the operator set. Newer readers take it; older ones refuse what they do not know.
_IR_VERSION = 8
QUANT_DOMAIN = "qonnx.custom_op.general"


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model: its name and whether it is float64."""

    name: str
    double: bool = False


class Writer:
    """Collects the nodes, initializers and types of a model."""

    def __init__(self, graph: Graph, batch: int | None, quantizers: bool):
        self.graph = graph
        self.batch = batch
        self.quantizers = quantizers
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list = []
        self.initializers: list = []
        self.infos: dict[str, object] = {}

    def model(self):
        from onnx import helper

        real = [self.info(node.name, node.shape, False) for node in self.graph.input_nodes]
        outputs = []
        for name in self.graph.outputs:
            tensor = self.tensors[name]
            # An output must not have the name of an input.
            outputs.append(self.infos.pop(tensor.name))
        graph = helper.make_graph(
            self.nodes,
            "nbqnn",
            real,
            outputs,
            self.initializers,
            value_info=list(self.infos.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        if self.quantizers:
            opsets.append(helper.make_opsetid(QUANT_DOMAIN, 1))
        return helper.make_model(
            graph, producer_name="nbqnn", opset_imports=opsets, ir_version=_IR_VERSION
        )

    def info(self, name: str, shape: tuple[int, ...], double: bool):
        from onnx import TensorProto, helper

        kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, (self.batch or "N", *shape))

    def constant(self, name: str, values) -> str:
        """An initializer of the type of ``values``."""
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(
        self, kind: str, inputs: list[str], output: Tensor, shape: tuple[int, ...], **attributes
    ) -> Tensor:
        """Appends one operator with one output of ``shape``, without the batch."""
        from onnx import helper

        self.nodes.append(
            helper.make_node(
                kind, inputs, [output.name], name=f"{output.name}:{kind}", **attributes
            )
        )
        self.infos[output.name] = self.info(output.name, shape, output.double)
        return output

    def scalar(self, name: str, value: float, double: bool = False) -> str:
        return self.constant(name, np.array(value, np.float64 if double else np.float32))

    def quantizer(self, source: str, target: str, scale, bits: int, signed: bool, narrow: bool):
        """Appends the node that states a format; its output has the shape of ``source``."""
        from onnx import helper

        inputs = [
            source,
            self.constant(f"{target}#scale", np.asarray(scale, dtype=np.float32)),
            self.scalar(f"{target}#zero", 0),
            self.scalar(f"{target}#bits", bits),
        ]
        self.nodes.append(
            helper.make_node(
                "Quant",
                inputs,
                [target],
                name=f"{target}:Quant",
                domain=QUANT_DOMAIN,
                signed=int(signed),
                narrow=int(narrow),
                rounding_mode="ROUND",
            )
        )

    def cast(self, tensor: Tensor, double: bool, shape: tuple[int, ...]) -> Tensor:
        """``tensor`` as float64 or float32; ``tensor`` itself if it has that type."""
        from onnx import TensorProto

        if tensor.double == double:
            return tensor
        kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
        target = Tensor(f"{tensor.name}#{'double' if double else 'float'}", double)
        if target.name in self.infos:
            return target
        return self.op("Cast", [tensor.name], target, shape, to=kind)


def write_model(path: Path, data: bytes) -> None:
    """Writes ``data`` beside ``path`` and renames it. Raises :class:`GraphError` if that fails."""
    write_file(path, data, "QONNX file", GraphError)
