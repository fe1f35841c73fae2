"""Reads a module with torch.fx as a list of the operations that quantized networks have."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.nn import functional as F

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.models.shortcut import PaddedShortcut

__all__ = ["Operation", "trace_operations"]


@dataclass
class Operation:
    """One step of a network, before it is quantized.

    kind : input, conv, linear, norm, relu, max_pool, avg_pool, add, concat, flatten or shortcut.
    name : unique, from torch.fx.
    inputs : names of the operations that it reads.
    path : path of the module, or of the module in which a function is called.
    module : the module, where there is one.
    settings : of the operation, by kind.
    """

    kind: str
    name: str
    inputs: list[str]
    path: str = ""
    module: nn.Module | None = None
    settings: dict = field(default_factory=dict)


class _Unsupported(Exception):
    """Why one operation cannot be quantized."""


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, PaddedShortcut) or super().is_leaf_module(module, qualified_name)


def trace_operations(module: nn.Module) -> list[Operation]:
    """The operations of ``module`` in topological order, the last one being its output.

    Raises :class:`NbqnnError` with all operations that are not supported.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # torch.fx raises whatever the traced code raises
        reason = str(error).strip().splitlines()
        raise NbqnnError(
            f"{type(module).__name__} must be traceable by torch.fx: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from None
    return _Reader(module, graph).read()


def _pair(value) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if len(value) == 1:
        return value[0], value[0]
    return int(value[0]), int(value[1])


class _Reader:
    def __init__(self, root: nn.Module, graph: fx.Graph):
        self.modules = dict(root.named_modules())
        self.graph = graph
        self.operations: dict[str, Operation] = {}
        #: Which operation's value a node stands for; nodes of sizes stand for None.
        self.values: dict[fx.Node, str | None] = {}
        self.refused: list[str] = []
        self.called: set[str] = set()

    def read(self) -> list[Operation]:
        for node in self.graph.nodes:
            if node.op == "output":
                self._read_output(node)
                continue
            if not node.users and node.op != "placeholder":
                continue
            try:
                self._read(node)
            except _Unsupported as error:
                self.refused.append(f"{self._where(node)} ({error})")
                self.values[node] = node.name
        if self.refused:
            raise NbqnnError("Not supported: " + ", ".join(self.refused))
        return self._live()

    def _live(self) -> list[Operation]:
        """The operations that the output depends on, and the input."""
        needed = {self.output}
        for operation in reversed(self.operations.values()):
            if operation.name in needed:
                needed.update(operation.inputs)
        live = [o for o in self.operations.values() if o.name in needed]
        if not live or live[0].kind != "input":
            raise NbqnnError("Module must compute its output from its input")
        return live

    def _where(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return node.target
        return self._scope(node) or "the module itself"

    def _scope(self, node: fx.Node) -> str:
        stack = node.meta.get("nn_module_stack") or {}
        return next(reversed(stack), "")

    def _read_output(self, node: fx.Node) -> None:
        (result,) = node.args
        if not isinstance(result, fx.Node) or self.values.get(result) is None:
            self.refused.append("the module itself (an output that is not one tensor)")
            return
        self.output = self.values[result]

    def _read(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if self.operations:
                if node.users:
                    raise _Unsupported("a second input")
                return
            self._add(Operation("input", node.name, []), node)
        elif node.op == "call_module":
            self._read_module(node)
        elif node.op == "call_function":
            self._read_function(node, _FUNCTIONS.get(node.target), _function_name(node.target))
        elif node.op == "call_method":
            self._read_function(node, _METHODS.get(node.target), f"Tensor.{node.target}")
        else:
            raise _Unsupported(f"{node.op} of {node.target}")

    def _read_function(self, node: fx.Node, rule: Callable | None, name: str) -> None:
        if rule is None:
            raise _Unsupported(name)
        rule(self, node, *node.args, **node.kwargs)

    def _read_module(self, node: fx.Node) -> None:
        module = self.modules[node.target]
        for kinds, rule in _MODULES.items():
            if type(module) in kinds:
                if module in self.called and any(True for _ in module.parameters()):
                    raise _Unsupported(f"{type(module).__name__} that is called more than once")
                self.called.add(module)
                rule(self, node, module)
                return
        raise _Unsupported(type(module).__name__)

    # Adding operations.

    def _add(self, operation: Operation, node: fx.Node) -> None:
        self.operations[operation.name] = operation
        self.values[node] = operation.name

    def _source(self, value) -> str:
        if not isinstance(value, fx.Node) or self.values.get(value) is None:
            raise _Unsupported(f"an operand that is no tensor of the network, {value!r}")
        return self.values[value]

    def _same(self, node: fx.Node, value, *_, **__) -> None:
        """The node's value is its input's."""
        self.values[node] = self._source(value)

    def emit(self, node: fx.Node, kind: str, *operands, module=None, **settings) -> None:
        path = node.target if node.op == "call_module" else self._scope(node)
        inputs = [self._source(value) for value in operands]
        self._add(Operation(kind, node.name, inputs, path, module, settings), node)

    # Modules.

    def conv(self, node: fx.Node, module: nn.Conv2d) -> None:
        if module.padding_mode != "zeros":
            raise _Unsupported(f"Conv2d with padding mode {module.padding_mode!r}")
        if module.padding == "valid":
            padding = (0, 0, 0, 0)
        elif module.padding == "same":
            total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            top, left = (t // 2 for t in total)
            padding = (top, left, total[0] - top, total[1] - left)
        else:
            padding = (*module.padding, *module.padding)
        self.emit(node, "conv", node.args[0], module=module, padding=padding)

    def linear(self, node: fx.Node, module: nn.Linear) -> None:
        self.emit(node, "linear", node.args[0], module=module)

    def norm(self, node: fx.Node, module: nn.BatchNorm2d) -> None:
        if module.running_mean is None:
            raise _Unsupported(f"{type(module).__name__} without running statistics")
        self.emit(node, "norm", node.args[0], module=module)

    def relu_module(self, node: fx.Node, module: nn.Module) -> None:
        if isinstance(module, nn.ReLU6):
            limits = (0.0, 6.0)
        elif isinstance(module, nn.Hardtanh):
            limits = (float(module.min_val), float(module.max_val))
        else:
            limits = (0.0, math.inf)
        self._emit_relu(node, node.args[0], limits)

    def _emit_relu(self, node: fx.Node, value, limits: tuple[float, float]) -> None:
        self.emit(node, "relu", value, limits=limits)

    def max_pool_module(self, node: fx.Node, module: nn.MaxPool2d) -> None:
        self._max_pool(
            node,
            node.args[0],
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.ceil_mode,
            module.return_indices,
        )

    def _max_pool(
        self,
        node,
        value,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ) -> None:
        if ceil_mode or return_indices or _pair(dilation) != (1, 1):
            raise _Unsupported("max pooling with ceil_mode, return_indices or dilation")
        kernel = _pair(kernel_size)
        stride = kernel if stride is None or stride == [] else _pair(stride)
        self.emit(node, "max_pool", value, kernel=kernel, stride=stride, padding=_pair(padding))

    def avg_pool_module(self, node: fx.Node, module: nn.AvgPool2d) -> None:
        self._avg_pool(
            node,
            node.args[0],
            module.kernel_size,
            module.stride,
            module.padding,
            module.ceil_mode,
            module.count_include_pad,
            module.divisor_override,
        )

    def _avg_pool(
        self,
        node,
        value,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ) -> None:
        padding = _pair(padding)
        if (
            ceil_mode
            or divisor_override is not None
            or (padding != (0, 0) and not count_include_pad)
        ):
            raise _Unsupported(
                "average pooling with ceil_mode, divisor_override or padding that is not counted"
            )
        kernel = _pair(kernel_size)
        stride = kernel if stride is None or stride == [] else _pair(stride)
        self.emit(node, "avg_pool", value, kernel=kernel, stride=stride, padding=padding)

    def adaptive_module(self, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> None:
        self._adaptive(node, node.args[0], module.output_size)

    def _adaptive(self, node, value, output_size) -> None:
        pair = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        if None in pair:
            raise _Unsupported("adaptive pooling that keeps a size (None)")
        self.emit(node, "avg_pool", value, kernel=None, size=pair)

    def flatten_module(self, node: fx.Node, module: nn.Flatten) -> None:
        self._flatten(node, node.args[0], module.start_dim, module.end_dim)

    def shortcut(self, node: fx.Node, module: PaddedShortcut) -> None:
        self.emit(node, "shortcut", node.args[0], module=module)

    def same_module(self, node: fx.Node, module: nn.Module) -> None:
        self._same(node, node.args[0])

    # Functions and methods.

    def _relu(self, node, value, inplace=False) -> None:
        self._emit_relu(node, value, (0.0, math.inf))

    def _relu6(self, node, value, inplace=False) -> None:
        self._emit_relu(node, value, (0.0, 6.0))

    def _hardtanh(self, node, value, min_val=-1.0, max_val=1.0, inplace=False) -> None:
        self._emit_relu(node, value, (float(min_val), float(max_val)))

    def _add_tensors(self, node, a, b, alpha=1) -> None:
        if alpha != 1:
            raise _Unsupported(f"addition with alpha {alpha}")
        self.emit(node, "add", a, b)

    def _concat(self, node, tensors, dim=0, axis=None) -> None:
        dim = dim if axis is None else axis
        if dim not in (1, -3):
            raise _Unsupported(f"concatenation along dimension {dim}")
        if len(tensors) == 1:
            self._same(node, tensors[0])
            return
        self.emit(node, "concat", *tensors)

    def _flatten(self, node, value, start_dim=0, end_dim=-1) -> None:
        if start_dim != 1 or end_dim not in (-1, 3):
            raise _Unsupported(f"flatten of dimensions {start_dim} to {end_dim}")
        self.emit(node, "flatten", value)

    def _view(self, node, value, *shape) -> None:
        shape = (
            tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        )
        batch_kept = isinstance(shape[0], fx.Node) and shape[0] in self.values
        features = shape[1] if len(shape) == 2 else None
        if not (features == -1 and batch_kept) and not (
            shape[0] == -1 and isinstance(features, int) and features > 0
        ):
            raise _Unsupported(f"a change of shape to {shape}; only (N, everything else) is")
        expected = None if features == -1 else features
        self.emit(node, "flatten", value, features=expected)

    def _mean(self, node, value, dim=None, keepdim=False) -> None:
        dims = {dim} if isinstance(dim, int) else set(dim or ())
        if dims not in ({2, 3}, {-1, -2}):
            raise _Unsupported(f"mean over dimensions {dim}; only height and width are")
        pooled = Operation(
            "avg_pool",
            node.name,
            [self._source(value)],
            self._scope(node),
            settings={"kernel": None, "size": (1, 1)},
        )
        self._add(pooled, node)
        if not keepdim:
            flat = Operation("flatten", node.name + "_flatten", [pooled.name], self._scope(node))
            self._add(flat, node)

    def _size(self, node, value, dim=0) -> None:
        """The number of images, which only a change of shape may use."""
        if dim != 0:
            raise _Unsupported(f"size along dimension {dim}")
        self.values[node] = None

    def _shape_attribute(self, node: fx.Node, name: str) -> None:
        if name != "shape":
            raise _Unsupported(f"attribute {name!r}")
        self.values[node] = None

    def _shape_item(self, node: fx.Node, value, index) -> None:
        if not isinstance(value, fx.Node) or self.values.get(value, "") is not None or index != 0:
            raise _Unsupported(f"index {index!r}")
        self.values[node] = None


def _function_name(function) -> str:
    return getattr(function, "__name__", str(function))


_MODULES = {
    (nn.Conv2d,): _Reader.conv,
    (nn.Linear,): _Reader.linear,
    (nn.BatchNorm2d, nn.BatchNorm1d): _Reader.norm,
    (nn.ReLU, nn.ReLU6, nn.Hardtanh): _Reader.relu_module,
    (nn.MaxPool2d,): _Reader.max_pool_module,
    (nn.AvgPool2d,): _Reader.avg_pool_module,
    (nn.AdaptiveAvgPool2d,): _Reader.adaptive_module,
    (nn.Flatten,): _Reader.flatten_module,
    (nn.Dropout, nn.Dropout2d, nn.Identity): _Reader.same_module,
    (PaddedShortcut,): _Reader.shortcut,
}

_FUNCTIONS = {
    F.relu: _Reader._relu,
    torch.relu: _Reader._relu,
    F.relu6: _Reader._relu6,
    F.hardtanh: _Reader._hardtanh,
    F.max_pool2d: _Reader._max_pool,
    torch.max_pool2d: _Reader._max_pool,
    F.avg_pool2d: _Reader._avg_pool,
    F.adaptive_avg_pool2d: _Reader._adaptive,
    F.dropout: _Reader._same,
    F.dropout2d: _Reader._same,
    operator.add: _Reader._add_tensors,
    operator.iadd: _Reader._add_tensors,
    torch.add: _Reader._add_tensors,
    torch.cat: _Reader._concat,
    torch.concat: _Reader._concat,
    torch.flatten: _Reader._flatten,
    torch.mean: _Reader._mean,
    torch.reshape: _Reader._view,
    getattr: lambda reader, node, value, name: reader._shape_attribute(node, name),
    operator.getitem: lambda reader, node, value, index: reader._shape_item(node, value, index),
}

_METHODS = {
    "relu": _Reader._relu,
    "relu_": _Reader._relu,
    "add": _Reader._add_tensors,
    "add_": _Reader._add_tensors,
    "flatten": _Reader._flatten,
    "view": _Reader._view,
    "reshape": _Reader._view,
    "mean": _Reader._mean,
    "size": _Reader._size,
    "contiguous": _Reader._same,
    "clone": _Reader._same,
}
