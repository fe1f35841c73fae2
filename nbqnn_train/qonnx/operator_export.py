"""Writes the nodes of :mod:`nbqnn_train.graph.operators` as ONNX operators.

Real values are ``code * 2**exponent`` and every sum is exact, as :mod:`.exporter` says. A table is
a Gather of the real values of its entries; knots are written out.
"""

import numpy as np

from nbqnn_train.graph.bounds import NodeBounds
from nbqnn_train.graph.nodes import Node, TensorType
from nbqnn_train.graph.operators import (
    ArgMax,
    Bilinear2d,
    Channels,
    Constant,
    ConvTranspose2d,
    DepthToSpace,
    Flip2d,
    Interpolate2d,
    Multiply,
    Pad2d,
    RegionAverage2d,
    RegionMax2d,
    Slice2d,
    SpaceToDepth,
    Sum,
    Table,
    Unflatten,
    Upsample2d,
)
from nbqnn_train.graph.operators.resize import bilinear_taps
from nbqnn_train.graph.operators.table import table_codes

from .writer import Tensor, Writer

__all__ = ["OperatorWriter"]

_FLOAT, _INT64 = 1, 7
#: float32 holds all integers up to this one.
_SINGLE = 1 << 24
_EDGE = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}


class OperatorWriter(Writer):
    """A method for each kind of node, by its name in lower case."""

    types: dict[str, TensorType]
    bounds: dict[str, NodeBounds]

    def _shape(self, node: Node) -> tuple[int, ...]:
        return self.types[node.name].shape

    def _whole(self, kind: str, inputs: list[str], output: str, shape: tuple, **attributes) -> str:
        """An operator whose output holds integers; ``shape`` includes the batch."""
        from onnx import helper

        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes)
        )
        self.infos[output] = helper.make_tensor_value_info(output, _INT64, shape)
        return output

    def _integers(self, name: str, values) -> str:
        return self.constant(name, np.asarray(values, np.int64))

    def _wide(self, node: Node) -> bool:
        return self.bounds[node.name].magnitude > _SINGLE

    def _table(self, node: Table, x: Tensor) -> Tensor:
        source, code, name = self.types[node.input], self.types[node.name], node.name
        scale = self.scalar(f"{name}#scale_in", 2.0**-source.exponent)
        lowest = self.scalar(f"{name}#lowest", -source.low)
        steps = self.op("Mul", [x.name, scale], Tensor(f"{name}#steps"), source.shape)
        places = self.op("Add", [steps.name, lowest], Tensor(f"{name}#places"), source.shape)
        shape = (self.batch or "N", *source.shape)
        index = self._whole("Cast", [places.name], f"{name}#index", shape, to=_INT64)
        entries = np.ldexp(table_codes(node.table, source.bits).astype(np.float64), code.exponent)
        table = self.constant(f"{name}#table", entries.astype(np.float32))
        target = f"{name}#real" if self.quantizers else name
        real = self.op("Gather", [table, index], Tensor(target), code.shape, axis=0)
        if self.quantizers:
            self.quantizer(real.name, name, 2.0**code.exponent, code.bits, code.signed, False)
            self.infos[name] = self.info(name, code.shape, False)
        return Tensor(name)

    def _constant(self, node: Constant) -> Tensor:
        name, shape = node.name, self._shape(node)
        real = np.ldexp(node.codes.astype(np.float64), node.exponent).astype(np.float32)
        values = self.constant(f"{name}#values", real[np.newaxis])
        source = self.graph.input_nodes[0]
        sizes = self._whole("Shape", [source.name], f"{name}#sizes", (1 + len(source.shape),))
        first = self._integers(f"{name}#first", [0])
        batch = self._whole("Gather", [sizes, first], f"{name}#batch", (1,))
        rest = self._integers(f"{name}#shape", shape)
        whole = self._whole("Concat", [batch, rest], f"{name}#whole", (1 + len(shape),), axis=0)
        return self.op("Expand", [values, whole], Tensor(name), shape)

    def _sum(self, node: Sum, *operands: Tensor) -> Tensor:
        shape, double = self._shape(node), self._wide(node)
        names = [self.cast(x, double, shape).name for x in operands]
        if node.signs[0] < 0:
            first = Tensor(f"{node.name}#first", double)
            names[0] = self.op("Neg", [names[0]], first, shape).name
        total = names[0]
        for number, (name, sign) in enumerate(zip(names[1:], node.signs[1:], strict=True), 1):
            last = number == len(names) - 1
            target = Tensor(node.name if last else f"{node.name}#sum{number}", double)
            total = self.op("Add" if sign > 0 else "Sub", [total, name], target, shape).name
        return Tensor(node.name, double)

    def _multiply(self, node: Multiply, a: Tensor, b: Tensor) -> Tensor:
        double = self._wide(node)
        names = [
            self.cast(x, double, self.types[source].shape).name
            for x, source in zip((a, b), node.operands, strict=True)
        ]
        return self.op("Mul", names, Tensor(node.name, double), self._shape(node))

    def _convtranspose2d(self, node: ConvTranspose2d, x: Tensor) -> Tensor:
        outputs, inputs, *kernel = node.weight.shape
        groups = node.groups
        real = np.ldexp(
            node.weight.astype(np.float64), np.reshape(node.weight_exponent, (-1, 1, 1, 1))
        )
        turned = real.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
        turned = turned.reshape(groups * inputs, outputs // groups, *kernel)
        weight = self.constant(f"{node.name}#weight", turned.astype(np.float32))
        digits = self.digits(node, x, int(np.abs(node.weight).sum(axis=(1, 2, 3)).max()))
        # output_padding: less is cut off behind, or zeros are added there.
        top, left, bottom, right = (int(size) for size in node.padding)
        added = [int(size) for size in node.output_padding]
        cut = [max(0, bottom - added[0]), max(0, right - added[1])]
        zeros = [max(0, added[0] - bottom), max(0, added[1] - right)]
        channels, *sizes = self._shape(node)
        short = (channels, *(size - more for size, more in zip(sizes, zeros, strict=True)))
        pads = self._integers(f"{node.name}#pads", [0] * 6 + zeros)
        parts = []
        for number, digit in enumerate(digits):
            part = self.part(node, len(digits), number)
            target = Tensor(f"{part.name}#short") if any(zeros) else part
            self.op(
                "ConvTranspose",
                [digit.name, weight],
                target,
                short,
                kernel_shape=kernel,
                strides=list(node.stride),
                pads=[top, left, *cut],
                dilations=list(node.dilation),
                group=groups,
            )
            if any(zeros):
                self.op("Pad", [target.name, pads], part, self._shape(node))
            parts.append(part)
        return self.total(node, parts)

    def _upsample2d(self, node: Upsample2d, x: Tensor) -> Tensor:
        scales = self.constant(f"{node.name}#scales", np.array([1, 1, *node.factor], np.float32))
        return self.op(
            "Resize",
            [x.name, "", scales],
            Tensor(node.name),
            self._shape(node),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _both_axes(
        self, node: Node, x: Tensor, rows: np.ndarray, columns: np.ndarray, target: str
    ) -> Tensor:
        """``rows`` (OH, H) times the map times ``columns`` (OW, W) transposed."""
        source, double = self.types[node.inputs[0]].shape, self._wide(node)
        kind = np.float64 if double else np.float32
        x = self.cast(x, double, source)
        left = self.constant(f"{node.name}#rows", rows.astype(kind))
        right = self.constant(f"{node.name}#columns", columns.T.astype(kind))
        between = Tensor(f"{node.name}#between", double)
        self.op("MatMul", [left, x.name], between, (source[0], len(rows), source[2]))
        return self.op(
            "MatMul",
            [between.name, right],
            Tensor(target, double),
            (source[0], len(rows), len(columns)),
        )

    def _bilinear2d(self, node: Bilinear2d, x: Tensor) -> Tensor:
        matrices = []
        for size, factor in zip(self.types[node.input].shape[1:], node.factor, strict=True):
            positions, counts = bilinear_taps(size, int(factor))
            matrix = np.zeros((len(positions), size))
            np.add.at(matrix, (np.arange(len(positions))[:, np.newaxis], positions), counts)
            matrices.append(matrix / (2 * factor if factor > 1 else 1))
        return self._both_axes(node, x, *matrices, node.name)

    def _interpolate2d(self, node: Interpolate2d, x: Tensor) -> Tensor:
        """A matrix of shares times the rows, or the columns times that matrix."""
        source, double = self.types[node.input].shape, self._wide(node)
        size = source[1 + node.axis]
        matrix = np.zeros((len(node.first), size), np.float64 if double else np.float32)
        for tap, share in enumerate(node.share.T):
            matrix[np.arange(len(matrix)), node.first + tap] = np.ldexp(share, -node.shift)
        shares = self.constant(f"{node.name}#shares", matrix.T if node.axis else matrix)
        x = self.cast(x, double, source)
        operands = [x.name, shares] if node.axis else [shares, x.name]
        return self.op("MatMul", operands, Tensor(node.name, double), self._shape(node))

    def _regionaverage2d(self, node: RegionAverage2d, x: Tensor) -> Tensor:
        matrices = [
            (np.arange(size) >= spans[:, :1]) & (np.arange(size) < spans[:, 1:])
            for size, spans in zip(
                self.types[node.input].shape[1:], (node.rows, node.columns), strict=True
            )
        ]
        sums = self._both_axes(node, x, *matrices, f"{node.name}#sums")
        kind = np.float64 if sums.double else np.float32
        factors = np.ldexp(node.multiplier.astype(np.float64), -node.shift).astype(kind)
        factor = self.constant(f"{node.name}#factors", factors)
        return self.op(
            "Mul", [sums.name, factor], Tensor(node.name, sums.double), self._shape(node)
        )

    def _regionmax2d(self, node: RegionMax2d, x: Tensor) -> Tensor:
        shape = list(self.types[node.input].shape)
        for axis, spans in ((2, node.rows), (3, node.columns)):
            shape[axis - 1] = 1
            parts = []
            for number, (first, last) in enumerate(spans.tolist()):
                name = f"{node.name}#{'rows' if axis == 2 else 'columns'}{number}"
                cut = (*shape[: axis - 1], last - first, *shape[axis:])
                part = self._sliced(x, name, cut, [first], [last], [axis], [1])
                self.op("ReduceMax", [part.name], Tensor(f"{name}#max"), tuple(shape), axes=[axis])
                parts.append(f"{name}#max")
            shape[axis - 1] = len(spans)
            target = node.name if axis == 3 else f"{node.name}#high"
            x = self.op("Concat", parts, Tensor(target), tuple(shape), axis=axis)
        return x

    def _sliced(self, x: Tensor, name: str, shape: tuple, starts, ends, axes, steps) -> Tensor:
        given = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
        lists = [self._integers(f"{name}#{what}", values) for what, values in given.items()]
        return self.op("Slice", [x.name, *lists], Tensor(name), shape)

    def _slice2d(self, node: Slice2d, x: Tensor) -> Tensor:
        pairs = list(zip(node.start, node.size, node.stride, strict=True))
        starts = [int(start) for start, _, _ in pairs]
        ends = [int(start + (size - 1) * stride + 1) for start, size, stride in pairs]
        steps = [int(stride) for stride in node.stride]
        return self._sliced(x, node.name, self._shape(node), starts, ends, [2, 3], steps)

    def _flip2d(self, node: Flip2d, x: Tensor) -> Tensor:
        axes = [axis for axis, turned in ((2, node.vertical), (3, node.horizontal)) if turned]
        count = len(axes)
        ends = [-(1 << 31)] * count
        backwards = [-1] * count
        return self._sliced(x, node.name, self._shape(node), backwards, ends, axes, backwards)

    def _channels(self, node: Channels, x: Tensor) -> Tensor:
        return self._chosen(node.name, x, node.index, self._shape(node))

    def _chosen(self, name: str, x: Tensor, index, shape: tuple[int, ...]) -> Tensor:
        chosen = self._integers(f"{name}#index", index)
        return self.op("Gather", [x.name, chosen], Tensor(name), shape, axis=1)

    def _unflatten(self, node: Unflatten, x: Tensor) -> Tensor:
        shape = self._integers(f"{node.name}#shape", [0, *node.shape])
        return self.op("Reshape", [x.name, shape], Tensor(node.name), self._shape(node))

    def _depthtospace(self, node: DepthToSpace, x: Tensor) -> Tensor:
        return self.op(
            "DepthToSpace",
            [x.name],
            Tensor(node.name),
            self._shape(node),
            blocksize=int(node.block),
            mode="CRD",
        )

    def _spacetodepth(self, node: SpaceToDepth, x: Tensor) -> Tensor:
        """ONNX has the positions in a block before the channels."""
        shape, area = self._shape(node), int(node.block) ** 2
        deep = Tensor(f"{node.name}#deep")
        self.op("SpaceToDepth", [x.name], deep, shape, blocksize=int(node.block))
        channels = shape[0] // area
        index = np.arange(shape[0]).reshape(area, channels).T.reshape(-1)
        return self._chosen(node.name, deep, index, shape)

    def _pad2d(self, node: Pad2d, x: Tensor) -> Tensor:
        top, left, bottom, right = (int(size) for size in node.padding)
        pads = self._integers(f"{node.name}#pads", [0, 0, top, left, 0, 0, bottom, right])
        inputs = [x.name, pads]
        if node.mode == "constant":
            step = 2.0 ** self.types[node.input].exponent
            inputs.append(self.scalar(f"{node.name}#value", node.value * step))
        return self.op("Pad", inputs, Tensor(node.name), self._shape(node), mode=_EDGE[node.mode])

    def _argmax(self, node: ArgMax, x: Tensor) -> Tensor:
        shape = self._shape(node)
        name, whole = f"{node.name}#number", (self.batch or "N", *shape)
        number = self._whole("ArgMax", [x.name], name, whole, axis=1, keepdims=1)
        return self.op("Cast", [number], Tensor(node.name), shape, to=_FLOAT)
