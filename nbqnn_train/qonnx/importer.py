"""From QONNX to the integer graph.

Takes networks whose weights are zero or powers of two on a common step (per tensor or per output
channel), whose activations are quantized on power-of-two steps, and whose other operators are
affine per channel: biases, batch norm, scales. Real arithmetic is what is imported: where the
model's own float32 evaluation rounds, it can differ.
"""

import os

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.nodes import Graph

from . import pointwise, spatial, sums
from .model import read_model
from .quantizers import quant
from .reader import Reader

__all__ = ["import_qonnx"]

#: What each operator of a model becomes: a function of the reader and the operator that returns the
#: value of its first output.
_OPERATORS = {
    "Add": pointwise.add,
    "AveragePool": spatial.average_pool,
    "BatchNormalization": pointwise.batch_normalization,
    "Cast": pointwise.identity,
    "Clip": pointwise.clip,
    "Concat": spatial.concat,
    "Conv": sums.conv,
    "Div": pointwise.div,
    "Dropout": pointwise.identity,
    "Flatten": spatial.flatten,
    "Floor": pointwise.floor,
    "Gemm": sums.gemm,
    "GlobalAveragePool": spatial.global_average_pool,
    "Identity": pointwise.identity,
    "IntQuant": quant,
    "MatMul": sums.matmul,
    "MaxPool": spatial.max_pool,
    "Mul": pointwise.mul,
    "Quant": quant,
    "Relu": pointwise.relu,
    "Reshape": spatial.reshape,
    "Sub": pointwise.sub,
}


def import_qonnx(path: str | os.PathLike, *, exact: bool = True) -> Graph:
    """The graph that computes what the QONNX model in ``path`` does.

    An Input has the name of the model's input; other tensors have the model's names.

    exact : refuse what the graph can only approximate: quantizers with ties that go to even (the
        graph rounds them up) and scales that take more than 16 bits. With False, ties go up and
        scales are rounded to 16 bits.

    Raises :class:`GraphError` naming the operator and, for weights, the first one that does not
    fit.
    """
    model = read_model(path)
    reader = Reader(model, exact)
    for operator in model.operators:
        handler = _OPERATORS.get(operator.kind)
        if handler is None:
            raise GraphError(f"{operator.what}: this operator is not supported")
        reader.values[operator.outputs[0]] = handler(reader, operator)
    return reader.graph()
