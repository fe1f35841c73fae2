"""Puts maps channels first where a model has them channels last, as models from TensorFlow do.

A transposition to (N, H, W, C) is carried along: operators behind it take the map channels first,
with their constants and axes in that order, until a transposition back cancels it, a linear layer
takes the flattened map with its weights in the other order, or the model ends. Where an operator
cannot be carried past, the transposition stays before it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from .model import Model, ModelInput, Operator

__all__ = ["channels_first"]

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
#: Operators on each element alone, whose other operands spread over the map.
_ELEMENTWISE = frozenset(
    """
    Abs Add BipolarQuant Cast Ceil Celu Clip DequantizeLinear Div Dropout Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IntQuant LeakyRelu Log Max Mean Min Mish Mul Neg PRelu Pow Quant
    QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Tanh Trunc
    """.split()  # noqa: SIM905
)
_REDUCTIONS = frozenset(("ReduceMax", "ReduceMean", "ReduceSum"))
_SOFTMAX = frozenset(("Softmax", "LogSoftmax"))
#: Operators whose constant inputs (or attributes) have a number for each axis, twice for Pad.
_BY_AXIS = {"Pad": {1: "pads"}, "Resize": {2: "scales", 3: "sizes"}, "Upsample": {1: "scales"}}


def channels_first(model: Model) -> Model:
    """``model`` with its maps channels first where that can be; ``turned`` names those tensors."""
    return _Pass(model).result()


class _Pass:
    def __init__(self, model: Model):
        self.model = model
        self.constants = dict(model.constants)
        self.shapes = dict(model.shapes)
        self.operators: list[Operator] = []
        #: Tensors that the model has channels last -> the same tensor channels first.
        self.first: dict[str, str] = {}
        #: Flattened maps -> the place in the new vector of each element of the model's.
        self.places: dict[str, np.ndarray] = {}
        self.restored: dict[str, str] = {}
        self.readers: dict[str, list[Operator]] = defaultdict(list)
        for op in model.operators:
            for name in op.inputs:
                self.readers[name].append(op)

    def result(self) -> Model:
        inputs = tuple(map(self._input, self.model.inputs))
        for op in self.model.operators:
            if not (self._starts(op) or self._carried(op)):
                self.operators.append(replace(op, inputs=tuple(map(self._as_it_was, op.inputs))))
        outputs = tuple(self._output(name) for name in self.model.outputs)
        turned = frozenset(name for name, first in self.first.items() if name == first)
        return replace(
            self.model,
            operators=tuple(self.operators),
            constants=self.constants,
            inputs=inputs,
            outputs=outputs,
            shapes=self.shapes,
            turned=turned,
        )

    def _input(self, item: ModelInput) -> ModelInput:
        """An input that is transposed later on is taken channels first."""
        shape = self.shapes.get(item.name, ())
        if len(shape) != 4 or not self._leads(item.name, self._is_to_first):
            return item
        self._turn(item.name)
        return replace(item, shape=self.shapes[item.name][1:], channels_last=True)

    def _output(self, name: str) -> str:
        """The output channels first: the tensor before a transposition at the end."""
        return self.first.get(name, name)

    def _leads(self, name: str, ends) -> bool:
        """Whether all readers of ``name`` are ``ends``, perhaps behind operators by element."""
        readers = self.readers[name]
        return bool(readers) and all(
            ends(op, name) or (self._is_on_the_way(op, ends) and self._leads(op.outputs[0], ends))
            for op in readers
        )

    def _is_on_the_way(self, op: Operator, ends) -> bool:
        to_first = ends == self._is_to_first and (op.kind == "Pad" or self._is_at_each_position(op))
        return (op.kind in _ELEMENTWISE or to_first) and self._alone(op)

    def _alone(self, op: Operator) -> bool:
        """Whether one input of ``op`` is no constant, and it gives one tensor within the model."""
        varying = [name for name in op.inputs if name and name not in self.constants]
        return len(set(varying)) == 1 and op.outputs[0] not in self.model.outputs

    def _is_to_first(self, op: Operator, name: str) -> bool:
        return op.kind == "Transpose" and _order(op) == _TO_FIRST

    def _is_linear(self, op: Operator, name: str) -> bool:
        """Whether ``op`` multiplies the vector ``name`` by constant weights."""
        if op.kind not in ("MatMul", "Gemm") or op.inputs[0] != name:
            return False
        weights = self.constants.get(op.inputs[1])
        return weights is not None and weights.ndim == 2 and not op.attributes.get("transA", 0)

    def _is_at_each_position(self, op: Operator) -> bool:
        """Whether ``op`` multiplies the last axis of a map by constant weights."""
        if op.kind != "MatMul" or len(self.shapes.get(op.inputs[0], ())) != 4:
            return False
        weights = self.constants.get(op.inputs[1])
        return weights is not None and weights.ndim == 2

    def _turn(self, name: str) -> None:
        """``name`` is channels first from here on."""
        self.first[name] = name
        shape = self.shapes.get(name)
        if shape is not None:
            self.shapes[name] = tuple(shape[axis] for axis in _TO_FIRST)

    def _as_it_was(self, name: str) -> str:
        """The tensor channels last, for operators that cannot take it otherwise."""
        if name not in self.first:
            return name
        if name not in self.restored:
            source = self.first[name]
            target = name if name != source else f"{name}:channels_last"
            self.restored[name] = target
            back = {"perm": list(_TO_LAST)}
            self.operators.append(Operator("Transpose", target, (source,), (target,), back))
            shape = self.shapes.get(source)
            if shape is not None:
                self.shapes[target] = tuple(shape[axis] for axis in _TO_LAST)
        return self.restored[name]

    def _starts(self, op: Operator) -> bool:
        """Whether ``op`` is a transposition of a map to channels last, which is put off."""
        if op.kind != "Transpose" or _order(op) != _TO_LAST or op.inputs[0] in self.first:
            return False
        shape = self.shapes.get(op.inputs[0])
        if shape is None or sum(size > 1 for size in (shape[1], shape[2] * shape[3])) < 2:
            return False  # the order of the numbers does not change
        self.first[op.outputs[0]] = op.inputs[0]
        return True

    # Operators behind a transposition.

    def _carried(self, op: Operator) -> bool:
        """Whether ``op`` was written with its inputs channels first."""
        varying = [name for name in op.inputs if name and name not in self.constants]
        if varying and all(name in self.places for name in varying):
            return self._of_vectors(op)
        if not varying or not all(name in self.first for name in varying):
            return False
        if self._is_to_first(op, varying[0]):
            return self._write(op, op.inputs, kind="Identity", attributes={}, turned=False)
        if op.kind in _ELEMENTWISE:
            return self._by_element(op)
        if op.kind == "MatMul":
            return self._at_each_position(op)
        if op.kind in _REDUCTIONS:
            return self._reduced(op)
        if op.kind in ("Concat", "Split") or (op.kind in _SOFTMAX and self.model.opset >= 13):
            axis = op.attributes.get("axis", -1 if op.kind in _SOFTMAX else 0)
            return axis in (3, -1) and self._write(op, op.inputs, attributes={"axis": 1})
        if op.kind in _BY_AXIS:
            return self._by_axis(op)
        if op.kind == "Slice":
            return self._sliced(op)
        if op.kind in ("Reshape", "Flatten"):
            return self._flattened(op)
        return False

    def _write(
        self,
        op: Operator,
        inputs: Iterable[str],
        *,
        kind: str = "",
        attributes: dict | None = None,
        turned: bool = True,
    ) -> bool:
        attributes = {} if kind else op.attributes | (attributes or {})
        inputs = tuple(self.first.get(name, name) for name in inputs)
        self.operators.append(
            replace(op, kind=kind or op.kind, inputs=inputs, attributes=attributes)
        )
        if turned:
            for name in filter(None, op.outputs):
                self._turn(name)
        return True

    def _constant(self, name: str, values: np.ndarray, reader: Operator) -> str:
        """Another constant in place of ``name`` for one reader."""
        new = f"{name} for {reader.outputs[0]}"  # operators may have one name, tensors do not
        self.constants[new] = values
        self.shapes[new] = values.shape
        return new

    def _by_element(self, op: Operator) -> bool:
        attributes = {}
        if op.kind in ("QuantizeLinear", "DequantizeLinear"):
            scale = self.constants.get(op.inputs[1])
            if scale is not None and scale.ndim == 1 and scale.size > 1:
                if op.attributes.get("axis", 1) not in (3, -1):
                    return False
                return self._write(op, op.inputs, attributes={"axis": 1})
        inputs = []
        for name in op.inputs:
            values = self.constants.get(name)
            if values is not None and values.ndim and values.size > 1:
                if values.ndim > 4:
                    return False
                aligned = values.reshape((1,) * (4 - values.ndim) + values.shape)
                name = self._constant(name, aligned.transpose(_TO_FIRST), op)
            inputs.append(name)
        return self._write(op, inputs, attributes=attributes)

    def _at_each_position(self, op: Operator) -> bool:
        """A linear layer over the channels: a convolution of 1 x 1."""
        if not self._is_at_each_position(op):
            return False
        weights = self.constants[op.inputs[1]]
        kernel = self._constant(op.inputs[1], weights.T[:, :, None, None], op)
        return self._write(op, (op.inputs[0], kernel), kind="Conv")

    def _reduced(self, op: Operator) -> bool:
        given = self.constants.get(op.inputs[1]) if len(op.inputs) > 1 else None
        axes = op.attributes.get("axes", ()) if given is None else given.reshape(-1).tolist()
        if {axis % 4 for axis in axes} != {1, 2}:
            return False
        keeps = bool(op.attributes.get("keepdims", 1))
        return self._write(op, op.inputs[:1], attributes={"axes": [2, 3]}, turned=keeps)

    def _by_axis(self, op: Operator) -> bool:
        inputs, attributes = list(op.inputs), {}
        if "axes" in op.attributes or (op.kind == "Pad" and len(inputs) > 3):
            return False  # numbers for some axes only
        for place, name in _BY_AXIS[op.kind].items():
            if place < len(inputs) and inputs[place]:
                values = self.constants.get(inputs[place])
                if values is None:
                    return False
                if values.size:
                    inputs[place] = self._constant(inputs[place], _by_axis(values), op)
            elif name in op.attributes:
                attributes[name] = _by_axis(np.asarray(op.attributes[name])).tolist()
        return self._write(op, inputs, attributes=attributes)

    def _sliced(self, op: Operator) -> bool:
        places = {axis: place for place, axis in enumerate(_TO_FIRST)}
        if "axes" in op.attributes:
            axes = [places[axis % 4] for axis in op.attributes["axes"]]
            return self._write(op, op.inputs, attributes={"axes": axes})
        axes = self.constants.get(op.inputs[3]) if len(op.inputs) > 3 else None
        if axes is None:
            return False
        moved = np.array([places[int(axis) % 4] for axis in axes.reshape(-1)])
        other = self._constant(op.inputs[3], moved, op)
        return self._write(op, (*op.inputs[:3], other, *op.inputs[4:]))

    def _flattened(self, op: Operator) -> bool:
        source = self.shapes.get(self.first[op.inputs[0]])
        target = self.shapes.get(op.outputs[0])
        if source is None or target != (1, int(np.prod(source))):
            return False
        if not self._leads(op.outputs[0], self._is_linear):
            return False
        numbers = np.arange(int(np.prod(source))).reshape(source[1:])
        self.places[op.outputs[0]] = numbers.transpose(1, 2, 0).reshape(-1)
        return self._write(op, op.inputs[:1], kind="Flatten", turned=False)

    def _of_vectors(self, op: Operator) -> bool:
        """An operator on flattened maps: by element, or a linear layer."""
        name = next(name for name in op.inputs if name in self.places)
        places = self.places[name]
        if self._is_linear(op, name):
            rows = not (op.kind == "Gemm" and op.attributes.get("transB", 0))
            weights = self.constants[op.inputs[1]]
            weights = _placed(weights if rows else weights.T, places)
            other = self._constant(op.inputs[1], weights if rows else weights.T, op)
            return self._write(op, (name, other, *op.inputs[2:]), turned=False)
        inputs = []
        for each in op.inputs:
            values = self.constants.get(each)
            if values is not None and values.size == places.size > 1:
                moved = _placed(values.reshape(-1), places).reshape(values.shape)
                each = self._constant(each, moved, op)
            inputs.append(each)
        self.places[op.outputs[0]] = places
        return self._write(op, inputs, turned=False)


def _order(op: Operator) -> tuple[int, ...]:
    order = op.attributes.get("perm", ())
    return tuple(order) if isinstance(order, (list, tuple)) else ()


def _placed(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    moved = np.empty_like(rows)
    moved[places] = rows
    return moved


def _by_axis(values: np.ndarray) -> np.ndarray:
    """Numbers by axis, or two for each, in the order of channels first."""
    return values.reshape(-1, 4)[:, list(_TO_FIRST)].reshape(values.shape)
