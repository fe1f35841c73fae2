"""Cleans a model up before it is read, with qonnx. Then it takes one image at a time, has shapes,
and everything that depends on constants alone is computed.

Tensors keep their names, so that messages can say them.
"""

import warnings

import numpy as np

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import MAX_DIMENSION, MAX_ELEMENTS, MAX_FEATURES

from .executor import Executor
from .model import Model, ModelInput, Operator, first_line, require_onnx

__all__ = ["clean", "with_one_image"]

#: Operators that may be computed beforehand: no loops, no randomness, no outputs whose size is
#: unknown.
_COMPUTED = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "BipolarQuant",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "DequantizeLinear",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IntQuant",
        "Less",
        "LessOrEqual",
        "Log",
        "MatMul",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pad",
        "Pow",
        "Quant",
        "QuantizeLinear",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Round",
        "Shape",
        "Sign",
        "Size",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tile",
        "Transpose",
        "Trunc",
        "Unsqueeze",
        "Where",
    ]
)
_MAX_COMPUTED = 1 << 27
_ROUNDS = 16
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")


def with_one_image(proto):
    """A copy of ``proto`` whose inputs hold one image. Shapes that contradict this are removed."""
    onnx = require_onnx()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    constants = {tensor.name for tensor in copy.graph.initializer}
    for info in copy.graph.input:
        dims = info.type.tensor_type.shape.dim
        if info.name not in constants and dims:
            dims[0].dim_value = 1
    for info in copy.graph.output:
        info.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    return copy


def clean(proto, where: str) -> Model:
    """The model of ``proto``, with a batch of one; :class:`GraphError` begins with ``where``."""
    proto = with_one_image(proto)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Cleaner(proto, where).model()
    except GraphError:
        raise
    except MemoryError as error:
        raise GraphError(f"{where} needs more memory than there is") from error
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        # The check lets through names that are not text, and attributes of a wrong type.
        raise GraphError(f"{where} must be a valid ONNX model: {first_line(error)}") from error


class _Cleaner:
    def __init__(self, proto, where: str):
        self.onnx = require_onnx()
        self.proto = proto
        self.where = where
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
        self.executor = Executor(proto)

    def model(self) -> Model:
        for tensor in self.proto.graph.initializer:
            self.constants[tensor.name] = self._array(tensor.name, tensor)
        nodes = [node for node in self.proto.graph.node if not self._is_constant(node)]
        for _ in range(_ROUNDS):
            self._infer()
            left = [node for node in nodes if not self._computed(node)]
            done = len(left) == len(nodes)
            nodes = left
            if done:
                break
        operators = tuple(self._operator(node) for node in self._live(nodes))
        return Model(
            operators=operators,
            constants=self.constants,
            inputs=self._inputs(operators),
            outputs=tuple(info.name for info in self.proto.graph.output),
            shapes=self.shapes,
            opset=self.opset,
        )

    def _live(self, nodes: list) -> list:
        """Those that the outputs depend on."""
        needed = {info.name for info in self.proto.graph.output}
        live = []
        for node in reversed(nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                live.append(node)
        return live[::-1]

    def _refuse(self, text: str) -> GraphError:
        return GraphError(f"{self.where}: {text}")

    def _array(self, name: str, tensor) -> np.ndarray:
        try:
            values = self.onnx.numpy_helper.to_array(tensor)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._refuse(f"tensor {name!r} cannot be read: {first_line(error)}") from error
        return self._numbers(name, values)

    def _numbers(self, name: str, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind not in "iufb" and not values.dtype.name.startswith(("int", "uint")):
            raise self._refuse(f"tensor {name!r} must hold numbers, not {values.dtype}")
        return values

    def _is_constant(self, node) -> bool:
        """Adds a Constant, in any of its forms, to the constants."""
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            return False
        name = node.output[0]
        attribute = next((a for a in node.attribute if a.name in _VALUES), None)
        if attribute is None:
            form = next((a.name for a in node.attribute), "nothing")
            raise self._refuse(f"Constant {name!r} must hold numbers, not {form}")
        value = self.onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            self.constants[name] = self._array(name, value)
        else:
            kind = np.float32 if "float" in attribute.name else np.int64
            self.constants[name] = np.array(value, dtype=kind)
        return True

    def _infer(self) -> None:
        """Infers shapes with ONNX; qonnx hides operators that are not ONNX's own."""
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.infer_shapes import InferShapes

        small = self.onnx.ModelProto()
        small.CopyFrom(self.proto)
        del small.graph.initializer[:]
        for name, values in self.constants.items():
            small.graph.initializer.append(self._stand_in(name, values))
        del small.graph.node[:]
        small.graph.node.extend(n for n in self.proto.graph.node if n.op_type != "Constant")
        try:
            inferred = ModelWrapper(small).transform(InferShapes()).model
        except Exception:
            # qonnx does not know this operator. The importer refuses it by name.
            inferred = self._plainly_inferred(small)
        for info in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
            dims = info.type.tensor_type.shape.dim
            known = info.type.tensor_type.HasField("shape") and all(
                d.HasField("dim_value") and d.dim_value >= 0 for d in dims
            )
            if known:
                self.shapes[info.name] = tuple(d.dim_value for d in dims)
        for name, values in self.constants.items():
            self.shapes[name] = values.shape

    def _stand_in(self, name: str, values: np.ndarray):
        """A constant for shape inference, which uses the values of small ones only."""
        if values.size <= 1024:
            return self.onnx.numpy_helper.from_array(values, name)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        return self.onnx.TensorProto(name=name, data_type=kind, dims=values.shape)

    def _plainly_inferred(self, small):
        try:
            return self.onnx.shape_inference.infer_shapes(small)
        except Exception as error:
            raise self._refuse(f"shapes do not fit: {first_line(error)}") from error

    def _computed(self, node) -> bool:
        """Computes ``node`` where it depends on constants alone."""
        if node.op_type not in _COMPUTED or node.domain not in (
            "",
            "ai.onnx",
            "com.microsoft",
            "qonnx.custom_op.general",
        ):
            return False
        given = [name for name in node.input if name]
        if node.op_type in ("Shape", "Size"):
            return self._measured(node, given[0])
        if not all(name in self.constants for name in given):
            return False
        inputs = {name: self.constants[name] for name in given}
        if node.domain:
            self._check_finite(node, inputs)
        for name in filter(None, node.output):
            shape = self.shapes.get(name)
            if shape is None and node.domain == "com.microsoft":  # which inference does not know
                shape = inputs[given[0]].shape
            if shape is None or np.prod(shape, dtype=np.float64) > _MAX_COMPUTED:
                return False
        try:
            results = self.executor.run(node, inputs)
        except Exception as error:
            what = self._operator(node).what
            raise self._refuse(f"{what} cannot be computed: {first_line(error)}") from error
        for name, values in results.items():
            self.constants[name] = self._numbers(name, np.asarray(values))
        return True

    def _check_finite(self, node, inputs: dict[str, np.ndarray]) -> None:
        """Refuses infinities and NaN before a quantizer, which would clip them to its limits."""
        for number, name in enumerate(node.input):
            values = inputs.get(name)
            if values is None or values.dtype.kind != "f" or np.isfinite(values).all():
                continue
            at = np.unravel_index(int(np.argmin(np.isfinite(values))), values.shape)
            raise self._refuse(
                f"{self._operator(node).what}: input {number} must be finite, not {values[at]} at "
                f"{[int(i) for i in at]}"
            )

    def _measured(self, node, name: str) -> bool:
        """Computes a Shape or Size, which needs no values."""
        shape = self.shapes.get(name)
        if shape is None:
            return False
        slots = {a.name: a.i for a in node.attribute}
        if node.op_type == "Shape":
            result = shape[slots.get("start", 0) : slots.get("end", len(shape))]
        else:
            result = int(np.prod(shape, dtype=np.int64))
        self.constants[node.output[0]] = np.array(result, dtype=np.int64)
        return True

    def _operator(self, node) -> Operator:
        get = self.onnx.helper.get_attribute_value
        try:
            attributes = {a.name: get(a) for a in node.attribute}
        except ValueError as error:
            raise self._refuse(f"{node.op_type}: {first_line(error)}") from error
        return Operator(
            kind=node.op_type,
            name=node.name or (node.output[0] if node.output else "?"),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes=attributes,
            domain="" if node.domain == "ai.onnx" else node.domain,
        )

    def _inputs(self, operators: tuple[Operator, ...]) -> tuple[ModelInput, ...]:
        inputs = []
        for info in self.proto.graph.input:
            if info.name not in self.constants:
                inputs.append(self._input(info, operators))
        return tuple(inputs)

    def _input(self, info, operators: tuple[Operator, ...]) -> ModelInput:
        kind = info.type.tensor_type
        sizes = tuple(d.dim_value for d in kind.shape.dim)[1:]
        largest = MAX_FEATURES if len(sizes) == 1 else MAX_DIMENSION
        fits = len(sizes) in (1, 2, 3) and all(0 < size <= largest for size in sizes)
        if not fits or np.prod(sizes, dtype=np.float64) > MAX_ELEMENTS:
            behind = (str(d.dim_value or d.dim_param or "?") for d in kind.shape.dim[1:])
            given = ", ".join(("N", *behind))
            raise self._refuse(
                f"input {info.name!r} must have the shape (N, C, H, W), (N, C, L) or (N, F), "
                f"each size behind N given and in 1..{MAX_DIMENSION}, not ({given}); remedy: "
                "export the model with the sizes of its inputs fixed"
            )
        shape = (sizes[0], 1, sizes[1]) if len(sizes) == 2 else sizes
        readers = [op for op in operators if info.name in op.inputs]
        turned = len(sizes) == 3 and all(
            op.kind == "Transpose" and list(op.attributes.get("perm", ())) == [0, 3, 1, 2]
            for op in readers
        )
        if turned and readers:
            shape = (shape[2], shape[0], shape[1])
        return ModelInput(
            name=info.name,
            shape=shape,
            integers=self._integers(info.name, kind.elem_type),
            channels_last=bool(turned and readers),
        )

    def _integers(self, name: str, elem_type: int) -> tuple[bool, int] | None:
        onnx = self.onnx.TensorProto
        kinds = {
            onnx.UINT8: (False, 8),
            onnx.INT8: (True, 8),
            onnx.UINT16: (False, 16),
            onnx.INT16: (True, 16),
            onnx.FLOAT: None,
            onnx.DOUBLE: None,
            onnx.FLOAT16: None,
            onnx.BFLOAT16: None,
        }
        if elem_type not in kinds:
            raise self._refuse(
                f"input {name!r} must hold floating point or integers of 8 or 16 bits, not "
                f"{onnx.DataType.Name(elem_type) if elem_type in onnx.DataType.values() else '?'}"
            )
        return kinds[elem_type]
