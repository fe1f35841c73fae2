"""From the nodes of a graph to the parts of a circuit."""

from collections.abc import Callable
from functools import partial

import numpy as np

from hw.spatial import area
from hw.spatial.adders import interval_bits
from hw.spatial.errors import SpatialError
from hw.spatial.flow import Grid
from hw.spatial.frame import Timing, fitting_frame, source_pace
from hw.spatial.lookup import Lookup
from hw.spatial.plan import NetworkPlan, Part, Parts, Word
from hw.spatial.pooling import LargestTap, MapSum
from hw.spatial.rows import clipped, identity, requantized, window_rows
from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    Sum,
    Table,
    tensor_types,
    validate,
    value_bounds,
)
from nbqnn_train.graph.operators.table import table_codes

__all__ = ["plan_network"]

_TAKEN = (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Requantize,
    Sum,
    Table,
)
#: Most names in a message.
_NAMED = 5


def plan_network(
    graph: Graph,
    levels: int,
    interval: int = 1,
    progress: Callable[[str], None] = lambda layer: None,
    tables: int | None = None,
) -> NetworkPlan:
    """The circuit of ``graph``, with ``levels`` additions between registers.

    interval : cycles from one position of the input to the next, at least 1.
    progress : called with the name of each layer before its shared sums are searched.
    tables : look-up tables that the device has, None for no limit.

    Raises :class:`SpatialError`, which names everything that no circuit can do.
    """
    validate(graph)
    if levels < 1:
        raise SpatialError(f"additions between registers must be 1 or more, not {levels}")
    if interval < 1:
        raise SpatialError(f"initiation interval must be 1 or more, not {interval}")
    _check(graph)
    return _Lowering(graph, levels, interval, progress, tables).plan()


def _check(graph: Graph) -> None:
    refused = [
        f"{node.name} ({type(node).__name__})"
        for node in graph.nodes
        if not isinstance(node, _TAKEN)
    ]
    if refused:
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise SpatialError(
            f"a circuit cannot hold {', '.join(refused[:_NAMED])}{more}; "
            "remedy: generate an overlay (--preset)"
        )
    if len(graph.input_nodes) != 1 or len(graph.outputs) != 1:
        raise SpatialError(
            f"a circuit has one input and one output, not {len(graph.input_nodes)} and "
            f"{len(graph.outputs)}"
        )


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width; those of a vector are 1."""
    return (shape[1], shape[2]) if len(shape) == 3 else (1, 1)


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        levels: int,
        interval: int,
        progress: Callable[[str], None],
        tables: int | None,
    ):
        self.graph = graph
        self.types = tensor_types(graph)
        self.bounds = value_bounds(graph)
        self.nodes = {node.name: node for node in graph.nodes}
        self.progress = progress
        self.pace = source_pace(fitting_frame(self._grids()), interval)
        self.parts = Parts(levels, tables)
        #: Node -> number of the part that its codes come from.
        self.made: dict[str, int] = {}

    def plan(self) -> NetworkPlan:
        for node in self.graph.nodes:
            if not self.types[node.name].is_accumulator:
                self.made[node.name] = self._part(node)
                if self._alone(node):
                    self.made[node.name] = self.parts.evened(self.made[node.name])
        parts, output = self.parts, self.graph.outputs[0]
        self._map(output, output)
        return NetworkPlan(
            tuple(parts.all),
            parts.levels,
            self.types[self.graph.input_nodes[0].name],
            self.types[output],
        )

    def _grids(self) -> list[tuple[int, int, int, int]]:
        """(height, width, vertical, horizontal stride in the input) of each map but vectors."""
        strides: dict[str, tuple[int, int]] = {}
        for node in self.graph.nodes:
            down, right = strides[node.inputs[0]] if node.inputs else (1, 1)
            if isinstance(node, (Conv2d, MaxPool2d, AvgPool2d)):
                down, right = down * node.stride[0], right * node.stride[1]
            strides[node.name] = (down, right)
        sizes = {name: _size(kind.shape) for name, kind in self.types.items()}
        found = [(*sizes[n], *strides[n]) for n in sizes if sizes[n] != (1, 1)]
        return found or [(1, 1, 1, 1)]

    def _alone(self, node: Node) -> bool:
        """Whether everything later depends on this node alone, and weighted sums are among it."""
        nodes = self.graph.nodes
        later = nodes[nodes.index(node) + 1 :]
        made = {node.name, *(one.name for one in later)}
        return any(isinstance(one, (Conv2d, Linear)) for one in later) and all(
            name in made for one in later for name in one.inputs
        )

    def _word(self, name: str) -> Word:
        return Word(self.types[name].bits, *self.bounds[name])

    def _map(self, name: str, reader: str) -> int:
        """The part that the codes of ``name`` come from; an error for a flattened map."""
        node = self.nodes[name]
        if isinstance(node, Flatten) and _size(self.types[node.input].shape) != (1, 1):
            raise SpatialError(
                f"layer {name}: a flattened map must be read by Linear in a circuit, "
                f"not be {'the output' if reader == name else f'read by {reader}'}"
            )
        return self.made[name]

    def _part(self, node: Node) -> int:
        match node:
            case Input():
                height, width = _size(node.shape)
                row = 1 if height == width == 1 else self.pace.frame.row
                words = (self._word(node.name),) * node.shape[0]
                grid = Grid(height, width, row)
                timing = Timing(np.arange(1 if grid.single else self.pace.frame.slots), 0)
                return self.parts.add(Part(node.name, (), None, words, grid, self.pace, timing))
            case Flatten():
                return self._map(node.input, node.name)
            case Requantize():
                return self._requantize(node)
            case Clip():
                source = self._map(node.input, node.name)
                rows = clipped(node, len(self.parts[source].words))
                return self.parts.sums(node.name, source, rows, self._word(node.name))
            case MaxPool2d():
                return self._max_pool(node)
            case Concat():
                sources = tuple(self._map(name, node.name) for name in node.operands)
                return self.parts.join(node.name, sources)
            case Table():
                return self._table(node)
        raise AssertionError(f"{node.name} is checked before")

    def _requantize(self, node: Requantize) -> int:
        self.progress(node.input)
        before, out = self.nodes[node.input], self._word(node.name)
        match before:
            case Conv2d():
                source, weight = self._convolution(before)
                rows = requantized(weight, 1, node)
            case Linear():
                source, weight = self._linear(before)
                rows = requantized(weight, 1, node)
            case AvgPool2d():
                source, weight = self._average(before)
                rows = requantized(weight, before.multiplier, node)
            case Add() | Sum():
                signs = getattr(before, "signs", (1, 1))
                places = [int(s) << int(n) for s, n in zip(signs, before.shifts, strict=True)]
                sources = tuple(self._map(name, before.name) for name in before.operands)
                weight = identity(len(self.parts[sources[0]].words), places)
                source = self.parts.join(before.name, sources)
                rows = requantized(weight, 1, node)
            case _:
                source = self._map(node.input, node.name)
                rows = requantized(identity(len(self.parts[source].words)), 1, node)
        return self.parts.sums(node.name, source, rows, out)

    def _taps(
        self, node: Node, kernel: tuple[int, int]
    ) -> tuple[tuple[slice, slice], tuple[int, int]]:
        """Those taps of a kernel that ever lie in the map, and the padding before them."""
        size, out = _size(self.types[node.input].shape), _size(self.types[node.name].shape)
        taps, before = [], []
        for axis in (0, 1):
            start, step = -node.padding[axis], node.stride[axis]
            last = start + (out[axis] - 1) * step
            used = [
                tap
                for tap in range(kernel[axis])
                if any(0 <= at + tap < size[axis] for at in range(start, last + 1, step))
            ] or [0]
            taps.append(slice(used[0], used[-1] + 1))
            before.append(node.padding[axis] - used[0])
        return tuple(taps), tuple(before)

    def _window(
        self, node: Node, kernel: tuple[int, int], fill: int
    ) -> tuple[int, tuple[slice, slice]]:
        """The part with those taps of a kernel that ever lie in the map, and which they are."""
        taps, before = self._taps(node, kernel)
        source = self.parts.window(
            node.name,
            self._map(node.input, node.name),
            tuple(part.stop - part.start for part in taps),
            tuple(node.stride),
            before,
            _size(self.types[node.name].shape),
            fill,
        )
        return source, taps

    def _convolution(self, node: Conv2d) -> tuple[int, np.ndarray]:
        weight, (down, right) = node.weight, node.dilation
        spread = tuple(
            (size - 1) * step + 1
            for size, step in zip(weight.shape[2:], node.dilation, strict=True)
        )
        full = np.zeros((*weight.shape[:2], *spread), np.int64)
        full[:, :, ::down, ::right] = weight
        source, (rows, columns) = self._window(node, spread, 0)
        return source, window_rows(full[:, :, rows, columns], node.groups)

    def _linear(self, node: Linear) -> tuple[int, np.ndarray]:
        before = self.nodes[node.input]
        size = _size(self.types[before.input].shape) if isinstance(before, Flatten) else (1, 1)
        if size == (1, 1):
            return self._map(node.input, node.name), node.weight
        # A kernel as large as the map has one position.
        flat = self.made[node.input]
        source = self.parts.window(node.name, flat, size, (1, 1), (0, 0), (1, 1), 0)
        return source, window_rows(node.weight.reshape(len(node.weight), -1, *size), 1)

    def _average(self, node: AvgPool2d) -> tuple[int, np.ndarray]:
        kind = self.types[node.input]
        words = kind.shape[0]
        if tuple(node.kernel) != _size(kind.shape) or any(node.padding):
            source, (rows, columns) = self._window(node, tuple(node.kernel), 0)
            taps = (rows.stop - rows.start) * (columns.stop - columns.start)
            return source, identity(words, (1,) * taps)
        source = self._map(node.input, node.name)
        part = self.parts[source]
        if part.grid.single:
            return source, identity(words)
        positions = node.kernel[0] * node.kernel[1]
        low, high = (end * positions for end in self.bounds[node.input])
        bits = max(1, interval_bits(low, high))
        build = partial(
            MapSum,
            words=words,
            bits=kind.bits,
            signed=kind.signed,
            total_bits=bits,
            grid=part.grid,
        )
        last = (part.grid.height - 1) * part.grid.row + part.grid.width - 1
        total = self.parts.one(
            node.name,
            source,
            build,
            0,
            (Word(bits, low, high),) * words,
            grid=Grid(1, 1, 1),
            tables=area.sums_of_maps(words, bits),
            timing=Timing(part.timing.slots[last : last + 1], part.timing.latency + MapSum.latency),
        )
        return total, identity(words)

    def _max_pool(self, node: MaxPool2d) -> int:
        """The largest code of each column under the kernel, then the largest of the columns."""
        kind = self.types[node.input]
        taps, before = self._taps(node, tuple(node.kernel))
        down, right = (part.stop - part.start for part in taps)
        height, width = _size(self.types[node.name].shape)
        across = _size(kind.shape)[1]
        stride = tuple(node.stride)
        source = self._map(node.input, node.name)
        for kernel, step, padding, size in (
            ((down, 1), (stride[0], 1), (before[0], 0), (height, across)),
            ((1, right), (1, stride[1]), (0, before[1]), (height, width)),
        ):
            source = self.parts.window(node.name, source, kernel, step, padding, size, kind.low)
            source = self._largest(node.name, source, max(kernel))
        return source

    def _largest(self, name: str, source: int, taps: int) -> int:
        """The largest of ``taps`` codes of each channel."""
        if taps == 1:
            return source
        kind = self.types[name]
        words = kind.shape[0]
        build = partial(LargestTap, taps=taps, words=words, bits=kind.bits, signed=kind.signed)
        return self.parts.one(
            name,
            source,
            build,
            LargestTap.rounds(taps),
            (self._word(name),) * words,
            tables=area.largest(taps, words, kind.bits),
        )

    def _table(self, node: Table) -> int:
        kind, words = self.types[node.input], self.types[node.name].shape[0]
        codes = table_codes(node.table, kind.bits)
        # The circuit reads a code as unsigned: negative ones come last.
        codes = np.roll(codes, kind.low)
        build = partial(
            Lookup, tuple(int(code) for code in codes), words, kind.bits, int(node.bits)
        )
        source = self._map(node.input, node.name)
        return self.parts.one(
            node.name,
            source,
            build,
            Lookup.latency,
            (self._word(node.name),) * words,
            tables=area.lookup(words, kind.bits, int(node.bits)),
        )
