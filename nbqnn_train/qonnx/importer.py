"""Imports models with QONNX's or ONNX's own quantizers as integer graphs.

Takes networks whose weights are zero or powers of two on a common step (per tensor or per output
channel). Activations can have any scales, offsets and roundings. Where a requantizer has all of
their steps in the same places, the import is exact. The import follows real arithmetic. It can
differ from the model's own float32 evaluation where that rounds.
"""

import os
from dataclasses import dataclass, replace

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.nodes import Clip, Graph

from . import parts, pointwise, quantizers, repeats, shapes, spatial, sums, tails, transposed
from .channels_last import channels_first
from .cleanup import clean
from .files import read_proto
from .functions import FUNCTIONS
from .model import Operator
from .reader import Options, Reader, Unknown
from .refusals import Refusals
from .shuffles import shuffles_gathered

__all__ = ["ADVICE", "DOMAINS", "Imported", "import_model", "import_qonnx"]

#: ONNX's own operators -> reading function: it takes the reader and the operator and returns the
#: value of the first output.
_OWN = {
    **FUNCTIONS,
    "Add": pointwise.add,
    "ArgMax": tails.tail,
    "AveragePool": spatial.average_pool,
    "BatchNormalization": pointwise.batch_normalization,
    "Cast": pointwise.cast,
    "Ceil": pointwise.rounding("CEIL"),
    "Clip": pointwise.clip,
    "Concat": spatial.concat,
    "Conv": sums.conv,
    "ConvTranspose": transposed.conv_transpose,
    "DepthToSpace": parts.depth_to_space,
    "DequantizeLinear": quantizers.dequantize_linear,
    "Div": pointwise.div,
    "Dropout": pointwise.dropout,
    "Expand": repeats.expand,
    "Flatten": shapes.flatten,
    "Floor": pointwise.rounding("FLOOR"),
    "Gather": parts.gather,
    "Gemm": sums.gemm,
    "GlobalAveragePool": spatial.global_average_pool,
    "GlobalMaxPool": spatial.global_max_pool,
    "Identity": pointwise.identity,
    "LogSoftmax": tails.tail,
    "MatMul": sums.matmul,
    "Max": pointwise.maximum,
    "MaxPool": spatial.max_pool,
    "Mean": pointwise.mean,
    "Min": pointwise.minimum,
    "Mul": pointwise.mul,
    "Neg": pointwise.neg,
    "Pad": spatial.pad,
    "QuantizeLinear": quantizers.quantize_linear,
    "ReduceMax": spatial.reduced("max"),
    "ReduceMean": spatial.reduced("mean"),
    "ReduceSum": spatial.reduced("sum"),
    "Relu": pointwise.relu,
    "Reshape": shapes.reshape,
    "Resize": parts.resize,
    "Round": pointwise.rounding("ROUND"),
    "Sigmoid": tails.sigmoid,
    "Slice": parts.slice_,
    "Softmax": tails.tail,
    "SpaceToDepth": parts.space_to_depth,
    "Split": parts.split,
    "Squeeze": shapes.squeeze,
    "Sub": pointwise.sub,
    "Sum": pointwise.add,
    "Tile": repeats.tile,
    "TopK": tails.tail,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Upsample": parts.resize,
}
_QONNX = {
    "BipolarQuant": quantizers.bipolar_quant,
    "IntQuant": quantizers.quant,
    "Quant": quantizers.quant,
    "Trunc": quantizers.trunc,
}
#: What onnxruntime writes where ONNX's own have no 16 bits yet.
_MICROSOFT = {
    "DequantizeLinear": quantizers.dequantize_linear,
    "QuantizeLinear": quantizers.quantize_linear,
}
#: Domain -> its operators.
DOMAINS = {"": _OWN, "com.microsoft": _MICROSOFT, "qonnx.custom_op.general": _QONNX}
ADVICE = {
    "LRN": "train with batch norm in its place",
    "LayerNormalization": "train with batch norm in its place",
}


@dataclass(frozen=True)
class Imported:
    """An imported graph, with notes and the model's tensor for each output.

    notes : one sentence for everything that was left out, assumed or rounded.
    outputs : for each of ``graph.outputs``, in order, what it is compared with.
    channels_last : inputs that the model takes as (N, H, W, C).
    turned : tensors that the graph has channels first, and the model channels last.
    """

    graph: Graph
    notes: tuple[str, ...]
    outputs: tuple[tails.Output, ...]
    channels_last: tuple[str, ...]
    turned: frozenset[str] = frozenset()


def import_qonnx(path: str | os.PathLike, *, exact: bool = True) -> Graph:
    """The graph of :func:`import_model`."""
    return import_model(path, exact=exact).graph


def import_model(
    path: str | os.PathLike,
    *,
    exact: bool = True,
    input_format: tuple[bool, int, int] | None = None,
    round_weights: int | None = None,
    round_outputs: bool = False,
) -> Imported:
    """The graph that computes what the QONNX (or QDQ) model in ``path`` does.

    An Input has the name of the model's input; other tensors have the model's names.

    exact : refuse what the graph can only approximate: quantizers whose steps no 16-bit requantizer
        has in the same places, ties that go to even, outputs whose step is no power of two. With
        False, ties go up, and scales and outputs that are not quantized are rounded to 16 bits.
    input_format : (signed, bits, exponent) of inputs that the model does not quantize.
    round_weights : bits to round weights to that are no powers of two.
    round_outputs : round outputs that the model leaves in floating point to 16 bits, with a note,
        also where all else is to be exact.

    Raises :class:`GraphError` with all that does not fit, each kind once: the operator, its value,
    what is allowed, what to do.
    """
    written = shuffles_gathered(clean(read_proto(path), f"QONNX file {str(path)!r}"))
    model = channels_first(written)
    reader = Reader(model, Options(exact, input_format, round_weights, round_outputs))
    refusals = Refusals()
    for operator in model.operators:
        for name in operator.outputs:
            reader.values[name] = None
        try:
            reader.values[operator.outputs[0]] = _handler(operator)(reader, operator)
        except Unknown:
            continue
        except GraphError as error:
            refusals.add(error)
    outputs = []
    for name in model.outputs:
        if reader.values.get(name, 0) is None and refusals:
            continue
        try:
            outputs.append(tails.finished(reader, name))
        except GraphError as error:
            refusals.add(error)
    if refusals:
        raise refusals.error()
    outputs = _apart(reader, outputs)
    graph = reader.graph([output.node for output in outputs], [output.final for output in outputs])
    notes = reader.notes + _flaw_notes(reader.flaws)
    last = tuple(item.name for item in model.inputs if item.channels_last)
    notes += [f"input {name!r} is taken channels first, (N, C, H, W)" for name in last]
    notes += [
        f"output {name!r} is given channels first, (N, C, H, W)"
        for name, own in zip(written.outputs, model.outputs, strict=True)
        if name != own or name in model.turned
    ]
    return Imported(graph, tuple(notes), tuple(outputs), last, model.turned)


def _apart(reader: Reader, outputs: list[tails.Output]) -> list[tails.Output]:
    """Gives every output a node of its own. Finals of the same tensor become one output."""
    result: dict[str, tails.Output] = {}
    tensors = set()
    for output in outputs:
        if output.node in result:
            if output.tensor in tensors:
                continue
            kind = reader.types[output.node]
            copy = Clip(
                name=reader.free(output.tensor), input=output.node, low=kind.low, high=kind.high
            )
            output = replace(output, node=reader.put(copy))
        result[output.node] = output
        tensors.add(output.tensor)
    return list(result.values())


def _handler(operator: Operator):
    handler = DOMAINS.get(operator.domain, {}).get(operator.kind)
    if handler is None:
        domain = f" of domain {operator.domain[:60]!r}" if operator.domain else ""
        advice = ADVICE.get(operator.kind)
        raise GraphError(
            f"{operator.what}: this operator{domain} is not supported"
            + (f"; {advice}" if advice else "")
        )
    if not operator.outputs:
        raise GraphError(f"{operator.what}: must have an output")
    return handler


def _flaw_notes(flaws: dict[str, list[str]]) -> list[str]:
    texts = {
        "input": "quantizers of inputs differ from the model's on values half-way between steps, "
        "or in the place of a step",
        "ties": "quantizers take sums half-way between two codes up, the model to even",
        "scale": "quantizers have a scale rounded to 16 bits: codes can differ by one",
    }
    return [
        f"{len(places)} {texts[flaw]}; the first is {places[0]}" for flaw, places in flaws.items()
    ]
