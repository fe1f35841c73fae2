"""Finals, which the graph leaves out, and the outputs before them in codes."""

from dataclasses import dataclass, replace
from fractions import Fraction

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import EXPONENT

from .building import (
    code_range,
    common_step,
    format_of,
    quantized,
    settled,
    with_inputs,
)
from .functions import sigmoid as function
from .model import Operator
from .reader import Reader
from .values import Leaf, Tail, Value, elementwise
from .weights import exact_log2

__all__ = ["Output", "finished", "sigmoid", "tail"]

_SAYS = {
    "ArgMax": "the largest output is the class",
    "LogSoftmax": "the largest output stays the largest",
    "Sigmoid": "an output of 0 stands for one half",
    "Softmax": "the largest output stays the largest",
    "TopK": "the largest outputs are the classes",
}
_FINAL = {
    "ArgMax": "argmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "TopK": "argmax",
}


def tail(reader: Reader, op: Operator) -> Value:
    """A final: left out with a note. Nothing that computes may follow."""
    value = reader.varying(op)
    rank = len(reader.model_shape(op.inputs[0], value))
    if op.kind != "Sigmoid":
        default = {"Softmax": 1 if reader.model.opset < 13 else -1, "ArgMax": 0}.get(op.kind, -1)
        axis = op.integer("axis", default)
        one_row = len(value.shape) == 1 or value.shape[1:] == (1, 1)
        if (axis + rank if axis < 0 else axis) != 1 and not (one_row and rank == 2 and axis == -1):
            raise GraphError(f"{op.what}: axis must be that of the channels (1), not {axis}")
    if op.kind == "TopK" and not op.integer("largest", 1):
        raise GraphError(f"{op.what}: must take the largest")
    reader.notes.append(f"{op.what} at the end is left out: {_SAYS[op.kind]}")
    result = Tail(value, op.kind, op.inputs[0])
    if isinstance(value, Tail):
        result = Tail(value.inner, op.kind, value.tensor)
    for name in op.outputs[1:]:
        reader.values[name] = result
    return result


def sigmoid(reader: Reader, op: Operator) -> Value:
    """A sigmoid: a function within the network, left out at its end."""
    within = any(op.outputs[0] in other.inputs for other in reader.model.operators)
    return function(reader, op) if within else tail(reader, op)


@dataclass(frozen=True)
class Output:
    """One output: its node, and how the numbers of the model relate to its codes.

    tensor : the tensor of the model, which holds ``code * 2**exponent``.
    rounded : whether the model has no quantizer there and the codes are rounded.
    final : what the model applies after it, as in :class:`nbqnn_train.graph.nodes.Graph`.
    """

    node: str
    tensor: str
    rounded: bool
    final: str


def finished(reader: Reader, name: str) -> Output:
    """The activation of output ``name``. Its real values are those of the model.

    Raises :class:`GraphError` if they are not 16-bit multiples of a power of two, unless
    approximations are allowed or outputs may be rounded.
    """
    what = f"Output {name!r}"
    value = reader.values.get(name)
    if value is None:
        raise GraphError(f"{what} is not computed")
    if not isinstance(value, Leaf | Tail) and not hasattr(value, "shape"):
        raise GraphError(f"{what} must not be constant")
    tensor, final = name, "none"
    if isinstance(value, Tail):
        final = _FINAL[value.kind]
        value, tensor = value.inner, value.tensor
    value = with_inputs(reader, what, value)
    leaf = _plain(reader, value)
    if leaf is not None:
        return Output(leaf.source, tensor, False, final)
    low, high, exponent, rounded = _format(reader, what, value)
    step = Fraction(2) ** exponent
    if rounded:
        value = elementwise(what, value, "plus", (step / 2,))
        reader.notes.append(
            f"output {name!r} is not quantized to a power of two in the model: rounded to 16 bits "
            f"in steps of 2**{exponent}"
        )
    options = reader.options
    reader.options = replace(options, exact=options.exact and not rounded)
    try:
        leaf = quantized(reader, what, value, format_of((step,), low, high), "FLOOR", name, True)
    finally:
        reader.options = options
    return Output(leaf.source, tensor, rounded, final)


def _plain(reader: Reader, value: Value) -> Leaf | None:
    """An activation whose real values are what the graph's exponent says."""
    if isinstance(value, Leaf) and reader.types[value.source].is_accumulator:
        return None
    try:
        leaf = settled(reader, "Output", value, "output")
    except GraphError:
        return None
    line = leaf.chain.line
    exponent = reader.types[leaf.source].exponent
    same = line.scale == (Fraction(2) ** exponent,) and line.offset == (0,)
    return leaf if same else None


def _format(reader: Reader, what: str, value: Value) -> tuple[int, int, int, bool]:
    """Smallest and largest code, exponent, and whether codes are rounded."""
    for exponent, rounded in _exponents(reader, what, value):
        low, high = code_range(reader, what, value, Fraction(2) ** exponent)
        if format_of((Fraction(1),), low, high + rounded).bits <= 16:
            return low, high + rounded, exponent, rounded
    raise GraphError(f"{what}: no step of 16 bits holds its values")


def _exponents(reader: Reader, what: str, value: Value):
    step = common_step(value)
    bottom = step.denominator
    if not bottom & (bottom - 1):
        top = step.numerator & -step.numerator
        yield exact_log2(Fraction(top, bottom)), False
    if reader.options.exact and not reader.options.round_outputs:
        raise GraphError(
            f"{what} must be the result of a Quant whose scale is a power of two; its values are "
            f"multiples of {float(step):g} and do not fit 16 bits as they are; import with "
            "exact=False (--approximate) to round them to 16 bits"
        )
    for exponent in range(-64, EXPONENT[1]):
        yield exponent, True
