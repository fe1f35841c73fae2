"""Reads a module, through ``torch.export``, as a list of the operations of quantized networks."""

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from nbqnn_train.quant.reading.aliases import Aliases, is_in_place
from nbqnn_train.quant.reading.arranging import as_map, as_vector
from nbqnn_train.quant.reading.nodes import computed, live_nodes, operator_name
from nbqnn_train.quant.reading.operations import Operation, Output, Reading
from nbqnn_train.quant.reading.program import BATCH, Example, Program, program_of, source_of
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal, Unsupported
from nbqnn_train.quant.reading.remedies import unsupported_operator
from nbqnn_train.quant.reading.results import Results
from nbqnn_train.quant.reading.rules import RULES
from nbqnn_train.quant.reading.training_only import (
    acts_in_training,
    drops_elements,
    marked_key,
    out_of_place,
)
from nbqnn_train.quant.reading.values import Constant, Joined, Value, canonical

__all__ = ["Reader", "read_at"]

#: Names of arguments that mean something else in Python.
_RENAMED = {"self": "operand", "input": "operand", "min": "low", "max": "high"}


def read_at(module: nn.Module, example: Example) -> Reading:
    """The reading of ``module``, a private copy, for inputs like ``example``.

    Raises :class:`NetworkRefused` with everything that is not supported.
    """
    return Reader(type(module).__name__, program_of(module, example)).read()


class Reader:
    """Visits the nodes of a program in order."""

    def __init__(self, network: str, program: Program):
        self.network = network
        self.program = program
        self.operations: dict[str, Operation] = {}
        self.values: dict[fx.Node, object] = {}
        self.finals: dict[fx.Node, str] = {}
        self.refusals: list[Refusal] = []
        self.notes: list[str] = list(program.notes)
        self.rounded = False
        #: Weights with a mask, by the paths of both. So shared weights stay shared.
        self.masked: dict[tuple[str, ...], nn.Parameter] = {}
        self.aliases = Aliases()
        #: Operations that stand for refused ones. Errors that follow from them are not reported.
        self.refused: set[str] = set()
        #: The node that is being read.
        self.node: fx.Node | None = None
        #: Values that were made maps or vectors, so that each is made once.
        self.made: dict[tuple, str] = {}

    def read(self) -> Reading:
        live = live_nodes(self.program.graph)
        inputs: dict[str, tuple[int, ...]] = {}
        found: Results | None = None
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, inputs)
            elif node.op == "output":
                found = Results(self, node)
            elif node in live:
                self._visit(node)
            self.aliases.visit(node)
        assert found is not None  # every program ends with its output
        outputs = list(found.outputs.values())
        kept = self._needed(outputs)
        if self.refusals:
            raise NetworkRefused(self.network, self.refusals)
        return Reading(
            kept,
            outputs,
            found.results,
            inputs,
            self.program.in_spec,
            self.program.out_spec,
            self.notes,
            found.absent,
            self.rounded,
        )

    # Nodes.

    def _placeholder(self, node: fx.Node, inputs: dict) -> None:
        if node.name in self.program.tensors:
            tensor = self.program.tensors[node.name]
            learned = isinstance(tensor, nn.Parameter) and tensor.requires_grad
            self.values[node] = Constant(tensor, self.program.paths[node.name], learned)
            return
        found = node.meta.get("val")
        if not isinstance(found, Tensor):
            return
        shape = tuple(found.shape[1:])
        inputs[node.name] = shape
        self.values[node] = self._guarded(node, lambda: self._input(node, found, shape))

    def _input(self, node: fx.Node, tensor: Tensor, shape: tuple[int, ...]) -> Value:
        if not tensor.is_floating_point():
            raise Unsupported(
                f"an input of {str(tensor.dtype).removeprefix('torch.')}",
                "give the network real numbers",
                "input",
            )
        if len(shape) not in (1, 2, 3):
            raise Unsupported(
                f"an input with {len(shape)} dimensions beside the batch",
                "vectors (F,), series (C, L) and maps (C, H, W) are read",
                "input",
            )
        return self.emit(node, "input", (), canonical(shape), base=shape)

    def _visit(self, node: fx.Node) -> None:
        operands = [self.values.get(arg) for arg in node.all_input_nodes]
        self.node = node
        if any(isinstance(operand, (Value, Joined, tuple)) for operand in operands):
            value = self._guarded(node, lambda: self._apply(node))
        else:
            value = self._constant(node)
        if is_in_place(node):
            for other in self.aliases.same_tensor(node.args[0]):
                self.values[other] = value
        self.values[node] = value

    def _guarded(self, node: fx.Node, read: Callable):
        """The result of ``read``. If it refuses, a stand-in, so that reading goes on."""
        before = self._refused_operand(node)
        try:
            value = read()
            if before and isinstance(value, Value):
                self.refused.add(value.name)
            return value
        except Unsupported as error:
            if not before or error.kind == "operation":
                self._refuse(node, error)
        return self._stand_in(node)

    def _refused_operand(self, node: fx.Node) -> bool:
        values = [self.values.get(arg) for arg in node.all_input_nodes]
        return any(isinstance(v, Value) and v.name in self.refused for v in values)

    def _refuse(self, node: fx.Node, error: Unsupported) -> None:
        name = "" if node.op != "call_function" else operator_name(node)
        self.refusals.append(
            Refusal(
                error.kind, self.path(node), self.source(node), name, error.reason, error.remedy
            )
        )

    def _stand_in(self, node: fx.Node):
        found = node.meta.get("val")
        if isinstance(found, (tuple, list)):
            return tuple(self._stand_in_for(node, part) for part in found)
        return self._stand_in_for(node, found)

    def _stand_in_for(self, node: fx.Node, tensor) -> Value | None:
        if not isinstance(tensor, Tensor):
            return None
        shape = tuple(tensor.shape[1:])
        value = self.emit(node, "refused", (), canonical(shape), base=shape)
        self.refused.add(value.name)
        return value

    def _apply(self, node: fx.Node):
        key = marked_key(node)
        if key is not None:
            return self._training_only(node, key)
        if getattr(node.target, "__name__", "") == "getitem":
            whole, index = self.values[node.args[0]], node.args[1]
            if isinstance(whole, tuple):
                return whole[index]
            if index == 0:
                return whole
            raise Unsupported(f"the second result of {operator_name(node.args[0])}")
        read = RULES.get(getattr(node.target, "overloadpacket", None))
        if read is None:
            raise unsupported_operator(operator_name(node))
        value = read(self, node, **self.arguments(node))
        found = node.meta["val"]
        found = found[0] if isinstance(found, (tuple, list)) else found
        if isinstance(value, Constant):
            return value
        if found.shape[:1] != (BATCH,) and node not in self.finals:
            raise Unsupported(
                "a change of shape that mixes images", "keep the batch in front", "shape"
            )
        return value

    def _training_only(self, node: fx.Node, key: int) -> Value:
        module = self.program.training[key]
        value = self.value(node.args[0])
        if not acts_in_training(module, (BATCH, *value.shape)):
            return value
        if not value.plain and len(value.shape) == 1 and drops_elements(module):
            # In which order the elements are does not matter.
            vector = self.vector(Value(value.name, (value.size,), flat=value.flat))
            shape = (value.size,)
            out = self.emit(node, "training", (vector.name,), shape, plain=False)
            self.operations[out.name].module = out_of_place(module)
            return value.named(out.name)
        if value.steps or value.order is not None or canonical(value.shape) != self.shape(value):
            value = self.vector(value) if len(value.shape) == 1 else self.map(value)
        out = self.emit(node, "training", (value.name,), self.shape(value), base=value.base)
        self.operations[out.name].module = out_of_place(module)
        return out

    def _constant(self, node: fx.Node) -> Constant | None:
        try:
            return computed(node, self.values, self.source(node))
        except Unsupported as error:
            self._refuse(node, error)
            return None

    def _needed(self, outputs: list[Output]) -> list[Operation]:
        """The inputs, and the operations that the outputs depend on."""
        needed = {output.name for output in outputs}
        for operation in reversed(self.operations.values()):
            if operation.name in needed:
                needed.update(operation.inputs)
        kept = [o for o in self.operations.values() if o.name in needed]
        for operation in self.operations.values():
            unused = operation.kind == "input" and operation.name not in needed
            if unused and not self.refusals:
                reason = f"an input that nothing is computed from ({operation.name})"
                remedy = "give the network what it uses, nothing else"
                self.refusals.append(Refusal("input", "", "", "", reason, remedy))
        return kept

    # For rules.

    def arguments(self, node: fx.Node) -> dict:
        """Arguments by the names that the operator gives them, defaults included; ``self`` and
        ``input`` are called ``operand``, ``min`` and ``max`` ``low`` and ``high``."""
        bound = {}
        for place, argument in enumerate(node.target._schema.arguments):
            name = _RENAMED.get(argument.name, argument.name)
            if place < len(node.args):
                bound[name] = self._given(node.args[place], argument)
            elif argument.name in node.kwargs:
                bound[name] = self._given(node.kwargs[argument.name], argument)
            elif argument.has_default_value():
                bound[name] = argument.default_value
        return bound

    def _given(self, given, argument: torch.Argument):
        """``given``; the number where the operator wants one and a constant has it, by item()."""
        found = self.values.get(given) if isinstance(given, fx.Node) else None
        if not isinstance(found, Constant) or "Tensor" in str(argument.type):
            return given
        if found.learned:
            raise Unsupported(
                "a number that is taken from a learned parameter",
                "use the parameter as a tensor, without item()",
            )
        return found.tensor.item()

    def value(self, argument) -> Value:
        found = self.values.get(argument) if isinstance(argument, fx.Node) else None
        if isinstance(found, Joined):
            raise Unsupported(
                "a constant beside what is concatenated at the end", "return it by itself", "shape"
            )
        if not isinstance(found, Value):
            raise Unsupported(
                "a constant where a value of the network is expected",
                "compute with what the network computes from its input",
            )
        return found

    def whole(self, argument) -> Value | Joined:
        """As :meth:`value`, or what is joined at the end, for what only arranges elements."""
        found = self.values.get(argument) if isinstance(argument, fx.Node) else None
        return found if isinstance(found, Joined) else self.value(argument)

    def is_value(self, argument) -> bool:
        return isinstance(argument, fx.Node) and isinstance(self.values.get(argument), Value)

    def is_whole(self, argument) -> bool:
        found = self.values.get(argument) if isinstance(argument, fx.Node) else None
        return isinstance(found, (Value, Joined))

    def constant(self, argument) -> Constant | None:
        """The constant that an argument stands for; None for None."""
        if argument is None:
            return None
        found = self.values.get(argument) if isinstance(argument, fx.Node) else None
        if isinstance(found, Constant):
            return found
        if isinstance(argument, (int, float)):
            return Constant(torch.tensor(float(argument)))
        raise Unsupported(
            "weights that are computed from the input",
            "use weights that are the same for every image",
            "weights",
        )

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape in which the quantized network holds the value."""
        return self.operations[value.name].shape

    def map(self, value: Value) -> Value:
        """The value as a map (C, H, W), or a series (C, L)."""
        return as_map(self, value)

    def vector(self, value: Value) -> Value:
        """The value as a vector (F,), flattened where it is a map."""
        return as_vector(self, value)

    def emit(
        self,
        node: fx.Node,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        *,
        base: tuple[int, ...] | None = None,
        tensors: dict | None = None,
        plain: bool = True,
        **settings,
    ) -> Value:
        """Adds an operation; ``shape`` is how its value is held, ``base`` how the module sees it;
        ``plain`` says that the node's elements are in the value's order."""
        name = self.unique(self.base_name(node))
        self.operations[name] = Operation(
            kind,
            name,
            list(inputs),
            self.path(node),
            self.source(node),
            operator_name(node) if node.op == "call_function" else "",
            node.name if plain else "",
            shape,
            settings,
            tensors or {},
        )
        return Value(name, shape if base is None else base)

    def note(self, node: fx.Node, text: str) -> None:
        place = Refusal("", self.path(node), self.source(node), "", "").place
        self.notes.append(f"{place}: {text}")

    def path(self, node: fx.Node) -> str:
        """Path of the innermost module in whose ``forward`` the node is computed."""
        stack = node.meta.get("nn_module_stack") or {}
        path = next(reversed(stack.values()), ("",))[0] if stack else ""
        return path.partition("@")[0]

    def source(self, node: fx.Node) -> str:
        """Where the node is called in the user's code; if unknown, where its first operand is."""
        places = (source_of(n.meta.get("stack_trace")) for n in (node, *node.all_input_nodes))
        return next(filter(None, places), "")

    def base_name(self, node: fx.Node) -> str:
        """A name for the value of a node: that of its module, or of its operator."""
        if node.op == "placeholder":
            return node.name
        path = self.path(node)
        module = self.program.modules.get(path)
        leaf = path and module is not None and not any(True for _ in module.children())
        if not leaf:
            return operator_name(node)
        name = "".join(c if c.isalnum() else "_" for c in path)
        return f"_{name}" if name[0].isdigit() else name

    def unique(self, base: str) -> str:
        name, number = base, 0
        while name in self.operations:
            number += 1
            name = f"{base}_{number}"
        return name
