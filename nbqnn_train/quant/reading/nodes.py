"""Single nodes of an exported graph: their names, constants, and which are needed."""

from dataclasses import replace

import torch
from torch import Tensor, fx

from nbqnn_train.quant.reading.aliases import is_in_place
from nbqnn_train.quant.reading.program import BATCH
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.values import Constant

__all__ = ["computed", "live_nodes", "only_arranged", "operator_name"]

#: Operators that only arrange elements.
_ARRANGING = (
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "unsafe_view"),
    *("permute", "transpose", "swapaxes", "movedim", "moveaxis", "clone", "contiguous"),
    *("detach", "alias", "cat", "concat", "concatenate"),
)


def computed(
    node: fx.Node, values: dict[fx.Node, object], source: str
) -> Constant | tuple[Constant, ...] | None:
    """The value of a node that does not depend on the input; None where it has no value.

    values : of the nodes before it. Raises :class:`Unsupported` where it cannot be computed.
    """
    operands = [values.get(arg) for arg in node.all_input_nodes]
    if not isinstance(node.meta.get("val"), Tensor) and not (
        operands and all(isinstance(operand, Constant) for operand in operands)
    ):
        return None  # such as an assertion about sizes
    learned = any(isinstance(o, Constant) and o.learned for o in operands)

    def tensor(arg: fx.Node):
        found = values.get(arg)
        if not isinstance(found, Constant):
            return found
        return found.tensor.detach().clone() if is_in_place(node) else found.tensor.detach()

    try:
        args, kwargs = fx.map_arg((node.args, node.kwargs), tensor)
        with torch.no_grad():
            result = node.target(*args, **kwargs)
    except Exception as error:  # an operator can raise anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise Unsupported(f"a constant that cannot be computed: {reason[0]}") from None
    if isinstance(result, (bool, int, float)):  # by item(); a tensor, as all constants are
        result = torch.tensor(result, dtype=torch.float64 if isinstance(result, float) else None)
    if isinstance(result, (tuple, list)) and all(isinstance(part, Tensor) for part in result):
        return tuple(Constant(part, learned=learned, source=source) for part in result)
    if not isinstance(result, Tensor):
        return None
    result = Constant(result, learned=learned, source=source)
    return _masked(node, operands, _for_one_image(result, operands))


def _for_one_image(result: Constant, operands: list) -> Constant:
    """``result``; where it was expanded over the batch, what each image has of it."""
    tensor = result.tensor
    if tensor.dim() == 0 or tensor.shape[0] != BATCH or tensor.stride(0) != 0:
        return result
    single = tensor[:1]
    for operand in operands:
        if operand.tensor.shape == single.shape and torch.equal(operand.tensor, single):
            return operand  # a parameter stays one
    return replace(result, tensor=single)


def _masked(node: fx.Node, operands: list, result: Constant) -> Constant:
    """``result``. Where it is a parameter times zeros and ones, as in pruning, it has that mask."""
    product = getattr(node.target, "overloadpacket", None) is torch.ops.aten.mul
    if not product or [type(operand) for operand in operands] != [Constant, Constant]:
        return result
    weight, mask = sorted(operands, key=lambda operand: not operand.learned)
    zeros_and_ones = bool(((mask.tensor == 0) | (mask.tensor == 1)).all())
    if not weight.learned or mask.learned or not weight.path or not zeros_and_ones:
        return result
    kept = mask.tensor.detach().bool().expand_as(result.tensor).clone()
    return replace(result, origin=(weight.path, mask.path), kept=kept)


def operator_name(node: fx.Node) -> str:
    """The name of a node's operator; where there is one, the name in ``torch.nn.functional``."""
    packet = getattr(node.target, "overloadpacket", None)
    name = getattr(packet, "__name__", None) or getattr(node.target, "__name__", str(node.target))
    return name.rstrip("_").removeprefix("_")


def live_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that the outputs depend on, in-place operations included."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in live or is_in_place(node):
            live.add(node)
            live.update(node.all_input_nodes)
    return live


def only_arranged(node: fx.Node) -> bool:
    """Whether what the module returns are the elements of the node's value, arranged."""
    return all(
        user.op == "output" or (operator_name(user) in _ARRANGING and only_arranged(user))
        for user in node.users
    )
