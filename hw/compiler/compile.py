"""Schedules layers on the accelerator: places, tiles, commands and what they wait for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from hw.compiler.lower import Layer, Lowered, lower
from hw.compiler.memory import Buffer, NoRoom, Ring, Scratchpad
from hw.compiler.stream import CommandStream
from hw.compiler.tiles import (
    FilterTile,
    RowTile,
    filter_tiles,
    layer_steps,
    row_tiles,
)
from hw.compiler.views import View
from hw.config import AcceleratorConfig
from hw.control.transfer import word_beats
from hw.fold import CompileError
from hw.isa import Compute, Load, Memory, Region, Store, Unit
from hw.layout import TensorLayout
from hw.program import Port, Program, ProgramLayer
from hw.registers import LAYERS
from nbqnn_train.graph import Graph, validate

__all__ = ["compile_graph"]

#: Alignment of what lies in the host's memory: a page, and any AXI burst.
_ALIGN = 4096
_MAX_FIELD = (1 << 16) - 1
#: A layer that is streamed by choice is cut into tiles of at least that many cycles, and no more
#: of them than that: enough to hide transfers, few enough to fetch their commands in time.
_STREAM_CYCLES = 300
_STREAM_TILES = 8


def compile_graph(
    graph: Graph, config: AcceleratorConfig, *, traced: bool = False, pack: bool = True
) -> Program:
    """The program that computes ``graph`` on an accelerator of ``config``, image by image.

    Feature maps stay on the chip where they fit. Others go through the host's memory: the layers
    that write and read them run in tiles of rows, and the transfers of one tile overlap with the
    computation of another. So do the image and the results, where only one layer reads or writes
    them. Weights and parameters are loaded ahead of use. With ``traced``, every node's codes are
    also stored in the scratch region. Without ``pack`` the program has no weights: it cannot run,
    but its cycles can be counted.

    Raises :class:`CompileError` naming the layer, the number and the limit that do not fit.
    """
    validate(graph)
    copied: frozenset[str] = frozenset()
    spilled: frozenset[str] | None = None
    while True:
        lowered = lower(graph, config, copied)
        if len(lowered.layers) > LAYERS:
            raise CompileError(f"a graph of {len(lowered.layers)} layers; at most {LAYERS} fit")
        if spilled is None:
            spilled = _streamed(graph, config, lowered)
        try:
            return _Compilation(graph, config, lowered, spilled, traced).run(pack)
        except _Spill as spill:
            views = [name for name, view in lowered.views.items() if view.root == spill.root]
            # Parts of words cannot be stored: what lies in the host's memory is copied together.
            copied |= set(views)
            spilled |= {spill.root}


class _Spill(Exception):
    """A tensor that has to lie in the host's memory."""

    def __init__(self, root: str):
        super().__init__(root)
        self.root = root


def _streamed(graph: Graph, config: AcceleratorConfig, lowered: Lowered) -> frozenset[str]:
    """The input and the outputs that only one layer reads or writes, tile by tile."""
    source = graph.input_nodes[0].name
    outputs = {lowered.aliases.get(name, name) for name in graph.outputs}
    roots = {view.root for view in lowered.views.values()}
    chosen = set()
    for layer in lowered.layers:
        if layer.unit is not Unit.ARRAY or len(layer.sources) > 1:
            continue
        if _stream_rows(config, layer) >= layer.out_shape[1]:
            continue
        readers = [other for other in lowered.layers if source in other.sources]
        if layer.source == source and len(readers) == 1 and source not in outputs:
            chosen.add(source)
        read = any(layer.target in other.sources for other in lowered.layers)
        if layer.target in outputs and not read and layer.target not in roots:
            chosen.add(layer.target)
    return frozenset(chosen)


def _stream_rows(config: AcceleratorConfig, layer: Layer) -> int:
    """Rows of a tile of a layer that is streamed by choice."""
    outputs, height, width = layer.out_shape
    groups = -(-height * width // config.pixels) * -(-outputs // config.filters)
    tiles = min(_STREAM_TILES, groups * layer_steps(config, layer) // _STREAM_CYCLES)
    return -(-height // max(1, tiles))


@dataclass(eq=False)
class _Strip:
    """Rows of a tensor on the chip, from ``first`` on: all of them or those of a tile."""

    buffer: Buffer
    layout: TensorLayout
    first: int = 0
    rows: int = 0

    @property
    def plane(self) -> int:
        """Words from one channel group to the next."""
        return self.rows * self.layout.pitch


@dataclass(frozen=True)
class _Home:
    """Where a tensor lies in the host's memory."""

    region: Region
    offset: int


@dataclass(eq=False)
class _Weights:
    """Where a filter tile's weights and parameters are, and the loads that bring them."""

    weight_base: int
    param_base: int
    loads: int = field(default=0)


class _Compilation:
    def __init__(
        self,
        graph: Graph,
        config: AcceleratorConfig,
        lowered: Lowered,
        spilled: frozenset[str],
        traced: bool,
    ):
        self.graph = graph
        self.config = config
        self.lowered = lowered
        self.spilled = spilled
        self.traced = traced
        self.stream = CommandStream()
        self.scratchpad = Scratchpad(config.act_depth)
        self.weights = Ring(config.weight_depth)
        self.params = Ring(config.param_depth)
        self.parameter_tiles: dict[tuple[int, int], tuple[FilterTile, int, int]] = {}
        self.parameter_bytes = 0
        self.layouts: dict[str, TensorLayout] = {}
        self.resident: dict[str, _Strip] = {}
        self.homes: dict[str, list[_Home]] = {}

    def run(self, pack: bool) -> Program:
        layers = self.lowered.layers
        self._choose_layouts()
        source = self.graph.input_nodes[0].name
        inputs = self._ports([source])
        outputs = self._ports(list(dict.fromkeys(self.graph.outputs)))
        # Steps of a concatenation have no node of their own in the graph; parts of words cannot
        # be stored.
        nodes = {node.name for node in self.graph.nodes}
        traced = self._ports([
            layer.target
            for layer in layers
            if self.traced
            and layer.target in nodes
            and self._view(layer.target).channel % self.config.lanes == 0
        ])  # fmt: skip
        self.homes[source] = [_Home(Region.INPUT, 0)]
        for region, ports in ((Region.OUTPUT, outputs), (Region.SCRATCH, traced)):
            for port in ports:
                self.homes.setdefault(self._memory_of(port.name), []).append(
                    _Home(region, port.offset)
                )
        scratch_bytes = self._extent(traced)
        for name in sorted(self.spilled - set(self.homes)):
            self.homes[name] = [_Home(Region.SCRATCH, scratch_bytes)]
            scratch_bytes += self._aligned_bytes(name)

        if source not in self.spilled:
            strip = self._make_resident(source, source)
            self._load(source, strip, 0, self.layouts[source].height, needed=0)
            # Before anything that may reuse its place.
            for home in self.homes[source][1:]:
                self._store(source, strip, home)
        uses = self._last_uses()
        ready = self._ready(outputs, traced)
        for index, layer in enumerate(layers):
            self._run_layer(index, layer, uses)
            for name in ready.get(index, ()):
                if self._view(name).root not in self.spilled:
                    for home in self.homes[name]:
                        self._store(name, self.resident[self._view(name).root], home)
            for root in [root for root, last in uses.items() if last == index]:
                if root in self.resident:
                    self.scratchpad.free(self.resident.pop(root).buffer)
        return Program(
            config=self.config,
            graph=self.graph,
            commands=self.stream.pack([layer.name for layer in layers]),
            parameters=self._packed_parameters() if pack else b"",
            input=inputs[0],
            fold=self.lowered.fold,
            outputs=tuple(outputs),
            traced=tuple(traced),
            scratch_bytes=scratch_bytes,
            layers=tuple(
                ProgramLayer(name=layer.name, output=layer.target, macs=layer.macs)
                for layer in layers
            ),
        )

    # Places ---------------------------------------------------------------------------------------

    def _memory_of(self, name: str) -> str:
        return self.lowered.aliases.get(name, name)

    def _view(self, name: str) -> View:
        return self.lowered.views.get(name, View(name, 0))

    def _choose_layouts(self):
        """For each tensor the narrowest pitch with which its readers reach the most pixels."""
        # Operands of one addition are read with the same steps, so they have the same pitch; so do
        # the parts of a tensor.
        together = {name: {name} for name in self.lowered.shapes}
        parts = [{name, view.root} for name, view in self.lowered.views.items()]
        for names in [set(layer.sources) for layer in self.lowered.layers] + parts:
            merged = set().union(*(together[name] for name in names))
            together.update(dict.fromkeys(merged, merged))
        pitches: dict[frozenset[str], int] = {}
        for name, (channels, height, width) in self.lowered.shapes.items():
            group = frozenset(together[name])
            if group not in pitches:
                readers = [layer for layer in self.lowered.layers if layer.source in group]
                pitches[group] = max(
                    range(width, width + self.config.banks),
                    key=lambda pitch: (
                        sum(self._pixels(layer, pitch) for layer in readers),
                        -pitch,
                    ),
                )
            self.layouts[name] = TensorLayout(
                channels=channels,
                height=height,
                width=width,
                pitch=pitches[group],
                offset=self.lowered.offsets[name],
            )

    def _pixels(self, layer: Layer, pitch: int) -> int:
        """The most output positions at once whose input words are always in different banks."""
        _, height, width = layer.out_shape
        rows, columns = np.divmod(np.arange(height * width), width)
        words = rows * layer.stride[0] * pitch + columns * layer.stride[1]
        for pixels in range(self.config.pixels, 1, -1):
            groups = -(-len(words) // pixels)
            # Missing positions of the last group get banks of their own.
            padded = np.arange(groups * pixels) + 2 * self.config.banks
            banks = np.full(groups * pixels, -1)
            banks[: len(words)] = words % self.config.banks
            banks[len(words) :] = padded[len(words) :]
            ordered = np.sort(banks.reshape(groups, pixels), axis=1)
            if (ordered[:, 1:] != ordered[:, :-1]).all():
                return pixels
        return 1

    def _make_resident(self, root: str, layer: str) -> _Strip:
        """A place for the whole tensor; raises :class:`_Spill` where there is none."""
        layout = self.layouts[root]
        try:
            buffer = self.scratchpad.allocate(layout.words(self.config))
        except NoRoom:
            raise _Spill(self._victim(root)) from None
        self.resident[root] = _Strip(buffer, layout, 0, layout.height)
        return self.resident[root]

    def _victim(self, *wanted: str) -> str:
        """The largest of the tensors that compete for the memory."""
        candidates = sorted({*self.resident, *wanted} - self.spilled)
        source = self.graph.input_nodes[0].name
        if len(self.homes[source]) > 1:
            # An input that is also an output is stored from the chip.
            candidates = [root for root in candidates if root != source]
        if not candidates:
            raise CompileError(
                f"layer {source}: {self.layouts[source].words(self.config)} words of an input that "
                f"is also an output must fit act_depth = {self.config.act_depth}"
            )
        return max(candidates, key=lambda root: self.layouts[root].words(self.config))

    def _last_uses(self) -> dict[str, int]:
        """Tensor -> index of the last layer that reads it (or writes it, if none does)."""
        uses = {self.graph.input_nodes[0].name: 0}
        for index, layer in enumerate(self.lowered.layers):
            for name in (layer.target, *layer.sources):
                uses[self._view(name).root] = index
        return uses

    def _ready(self, outputs: list[Port], traced: list[Port]) -> dict[int, list[str]]:
        """Layer's index -> tensors to be stored after it: it writes the last part of them."""
        ready: dict[int, list[str]] = {}
        for name in dict.fromkeys(self._memory_of(port.name) for port in (*outputs, *traced)):
            own = self._view(name)
            channels = range(own.channel, own.channel + self.layouts[name].channels)
            writers = [
                index
                for index, layer in enumerate(self.lowered.layers)
                if (view := self._view(layer.target)).root == own.root and view.channel in channels
            ]
            if writers:
                ready.setdefault(max(writers), []).append(name)
        return ready

    def _ports(self, names: list[str]) -> list[Port]:
        """Tensors one after the other in one region."""
        ports, offset = [], 0
        for name in names:
            memory = self._memory_of(name)
            ports.append(Port(name=name, offset=offset, layout=self.layouts[memory]))
            offset += self._aligned_bytes(memory)
        return ports

    def _aligned_bytes(self, name: str) -> int:
        align = _ALIGN * self.config.axi_ports
        return -(-self.layouts[name].host_bytes(self.config) // align) * align

    def _extent(self, ports: list[Port]) -> int:
        return sum(self._aligned_bytes(self._memory_of(port.name)) for port in ports)

    # Layers ---------------------------------------------------------------------------------------

    def _run_layer(self, index: int, layer: Layer, uses: dict[str, int]):
        roots = [self._view(name).root for name in layer.sources]
        target = self._view(layer.target).root
        moving = [root for root in dict.fromkeys(roots) if root in self.spilled]
        if moving and len(moving) < len(set(roots)):
            # Both operands of a sum are read with the same strides.
            raise _Spill(next(root for root in roots if root not in self.spilled))
        held = {root: self.resident[root] for root in roots if root in self.resident}
        if target not in self.spilled and target not in self.resident:
            reused = self._in_place(index, layer, roots, target, uses)
            if reused is not None:
                self.resident[target] = self.resident.pop(reused)
            else:
                self._make_resident(target, layer.name)
        writes = target in self.spilled
        tiles = [RowTile(0, layer.out_shape[1], 0, self.layouts[roots[0]].height)]
        sources: list[dict[str, _Strip]] = [held]
        targets = [None if writes else self.resident[target]]
        if moving or writes:
            tiles, strips, targets = self._cut(layer, moving, target if writes else None)
            sources = strips if moving else sources

        parts = filter_tiles(self.config, layer)
        count = len(tiles) * len(parts)
        kept = self._kept(parts)
        start = len(self.stream.computes)
        loaded: dict[int, _Weights] = {}
        for number, (row, part) in enumerate(product(range(len(tiles)), range(len(parts)))):
            tile = tiles[row]
            strips = sources[row % len(sources)]
            out = targets[row % len(targets)]
            if part == 0:
                for root in moving:
                    self._load(root, strips[root], tile.in_first, tile.in_end, start + number)
                if writes:
                    out.first, out.rows = tile.first, tile.end - tile.first
            if not kept or part not in loaded:
                # The last command that reads them.
                reader = start + (count - len(parts) + part if kept else number)
                loaded[part] = self._load_weights(index, parts[part], start + number, reader + 1)
            self._compute(
                index,
                parts[part],
                tile,
                [strips[root] for root in roots],
                out,
                loaded[part],
                last=number == count - 1,
            )
            if writes and part == len(parts) - 1:
                for home in self.homes[layer.target]:
                    self._store(layer.target, out, home)
        for strips in sources if moving else ():
            for strip in strips.values():
                self.scratchpad.free(strip.buffer)
        for strip in targets if writes else ():
            self.scratchpad.free(strip.buffer)

    def _in_place(
        self, index: int, layer: Layer, roots: list[str], target: str, uses: dict[str, int]
    ) -> str | None:
        """A source whose words may be overwritten as soon as they have been read."""
        window = layer.kernel == (1, 1) or len(layer.sources) == 2
        same = layer.stride == (1, 1) and not any(layer.padding)
        if layer.unit is Unit.ARRAY or not (window and same) or target != layer.target:
            return None
        for name, root in zip(layer.sources, roots, strict=True):
            layouts = self.layouts[name], self.layouts[target]
            if (
                root == name
                and root in self.resident
                and uses[root] == index
                and layouts[0].words(self.config) == layouts[1].words(self.config)
                and layouts[0].pitch == layouts[1].pitch
                and name not in self.lowered.views
                and target not in self.lowered.views
            ):
                return root
        return None

    def _cut(
        self, layer: Layer, moving: list[str], target: str | None
    ) -> tuple[list[RowTile], list[dict[str, _Strip]], list[_Strip | None]]:
        """Row tiles, and two places for the strips of each tensor that is not on the chip.

        Raises :class:`_Spill` where another tensor has to make room, :class:`CompileError` where
        there is none.
        """
        height = layer.out_shape[1]
        in_height = self.layouts[self._view(layer.source).root].height
        most = _stream_rows(self.config, layer)
        sizes = [-(-height // count) for count in range(-(-height // most), height + 1)]
        # Two strips in turn, so that one is moved while the other is computed; at worst only one.
        for rows, copies in (*((rows, 2) for rows in dict.fromkeys(sizes)), (1, 1)):
            tiles = row_tiles(layer, in_height, rows)
            in_rows = max(tile.in_end - tile.in_first for tile in tiles)
            strip_rows = dict.fromkeys(moving, in_rows)
            if target is not None:
                strip_rows[target] = rows
            strips: list[dict[str, _Strip]] = [{} for _ in range(min(copies, len(tiles)))]
            if self._allocate_strips(strip_rows, strips):
                break
        else:
            if set(self.resident) - self.spilled:
                raise _Spill(self._victim())
            words = sum(
                self.layouts[root].groups(self.config) * count * self.layouts[root].pitch
                for root, count in strip_rows.items()
            )
            raise CompileError(
                f"layer {layer.name}: {words} words of input and output for one row must fit "
                f"act_depth = {self.config.act_depth}, which is short by "
                f"{words - self.config.act_depth}"
            )
        sources = [{root: strip[root] for root in moving} for strip in strips]
        targets = (
            [strip[target] for strip in strips]
            if target is not None
            else [self.resident[self._view(layer.target).root]]
        )
        return tiles, sources, targets

    def _allocate_strips(self, sizes: dict[str, int], strips: list[dict[str, _Strip]]) -> bool:
        """Fills ``strips``, or leaves the memory as it was and returns False."""
        for strip in strips:
            for root, rows in sizes.items():
                layout = self.layouts[root]
                words = layout.groups(self.config) * rows * layout.pitch
                try:
                    strip[root] = _Strip(self.scratchpad.allocate(words), layout)
                except NoRoom:
                    for made in (made for strip in strips for made in strip.values()):
                        self.scratchpad.free(made.buffer)
                    return False
        return True

    # Weights --------------------------------------------------------------------------------------

    def _words(self, tile: FilterTile) -> tuple[int, int]:
        """Words of a tile's weights and parameters."""
        layer = tile.layer
        steps = 0 if layer.unit is Unit.MAX else layer_steps(self.config, layer)
        weights = steps * (1 if layer.shared_weight else tile.filter_groups)
        params = tile.filter_groups * tile.chunks
        if layer.shared_params:
            params = -(-len(layer.params.addend) // self.config.post_lanes)
        return weights, params

    def _kept(self, parts: list[FilterTile]) -> bool:
        """Whether the whole layer's weights stay while its rows go by."""
        weights, params = (sum(words) for words in zip(*map(self._words, parts), strict=True))
        config = self.config
        return weights <= config.weight_depth // 2 and params <= config.param_depth // 2

    def _load_weights(self, index: int, tile: FilterTile, needed: int, reader: int) -> _Weights:
        key = (index, tile.channel)
        sizes = self._words(tile)
        memories = (Memory.WEIGHT, Memory.PARAM)
        if key not in self.parameter_tiles:
            offsets = []
            for memory, words in zip(memories, sizes, strict=True):
                offsets.append(self.parameter_bytes)
                self.parameter_bytes += words * self._word_bytes(memory)
            self.parameter_tiles[key] = (tile, *offsets)
        bases = []
        for memory, ring, words, offset in zip(
            memories,
            (self.weights, self.params),
            sizes,
            self.parameter_tiles[key][1:],
            strict=True,
        ):
            if not words:
                bases.append(0)
                continue
            base, free_after = ring.allocate(words, reader)
            bases.append(base)
            most = _MAX_FIELD // word_beats(self.config, memory)
            for done in range(0, words, most):
                count = min(most, words - done)
                self.stream.load(
                    Load(
                        wait_compute=free_after,
                        region=Region.PARAMETERS,
                        memory=memory,
                        offset=(offset + done * self._word_bytes(memory)) // self.config.axi_ports,
                        base=base + done,
                        words=count,
                        rows=1,
                        beats=count * word_beats(self.config, memory),
                    ),
                    needed,
                )
        return _Weights(*bases, len(self.stream.loads))

    def _word_bytes(self, memory: Memory) -> int:
        return word_beats(self.config, memory) * self.config.axi_beat_bits // 8

    def _packed_parameters(self) -> bytes:
        packed = bytearray(self.parameter_bytes)
        for tile, *offsets in self.parameter_tiles.values():
            for words, offset in zip(tile.pack(self.config), offsets, strict=True):
                packed[offset : offset + words.size] = words.tobytes()
        return bytes(packed)

    # Commands -------------------------------------------------------------------------------------

    def _transfers(
        self, name: str, strip: _Strip, first: int, rows: int, home: _Home, emit: Callable
    ):
        """Commands for rows ``first`` on of a tensor between its home and its strip."""
        config, layout = self.config, self.layouts[name]
        beats = word_beats(config, Memory.ACT)
        word_bytes = beats * config.axi_beat_bits // 8
        view = self._view(name)
        place = strip.buffer.base + view.channel // config.lanes * strip.plane
        place += (first - strip.first) * layout.pitch
        groups = layout.groups(config)
        plane = layout.height * layout.width
        whole = rows == strip.rows == layout.height
        for group in range(1 if whole else groups):
            words, count = layout.width, rows * (groups if whole else 1)
            if layout.pitch == layout.width and count * words * beats <= _MAX_FIELD:
                words, count = count * words, 1
            offset = home.offset + (group * plane + first * layout.width) * word_bytes
            emit(
                region=home.region,
                memory=Memory.ACT,
                offset=offset // config.axi_ports,
                base=place + group * strip.plane,
                words=words,
                rows=count,
                beats=words * beats,
                base_stride=layout.pitch,
                offset_stride=words * word_bytes // config.axi_ports,
            )

    def _load(self, root: str, strip: _Strip, first: int, end: int, needed: int):
        """Rows ``first`` to before ``end`` into a strip, which then begins with them."""
        strip.first, strip.rows = first, end - first
        buffer = strip.buffer

        def emit(**fields):
            self.stream.load(
                Load(wait_compute=buffer.used, wait_store=buffer.stored, **fields), needed
            )

        self._transfers(root, strip, first, end - first, self.homes[root][0], emit)
        buffer.loaded = len(self.stream.loads)

    def _store(self, name: str, strip: _Strip, home: _Home):
        buffer = strip.buffer

        def emit(**fields):
            self.stream.store(Store(wait_compute=buffer.written, wait_load=buffer.loaded, **fields))

        self._transfers(name, strip, strip.first, strip.rows, home, emit)
        buffer.stored = len(self.stream.stores)

    def _compute(
        self,
        index: int,
        part: FilterTile,
        tile: RowTile,
        strips: list[_Strip],
        out: _Strip,
        weights: _Weights,
        *,
        last: bool,
    ):
        config, layer = self.config, part.layer
        source = strips[0]
        pitch = source.layout.pitch
        (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
        (top, left, _, _), (dilation_y, dilation_x) = layer.padding, layer.dilation
        _, _, out_width = layer.out_shape
        positions = (tile.end - tile.first) * out_width
        pixels = min(self._pixels(layer, pitch), positions)
        kernel_width = (kernel_w - 1) * dilation_x
        # Word of the strip in which a source's channels begin, and row of the first window in it.
        bases = [
            strip.buffer.base + self._view(name).channel // config.lanes * strip.plane
            for name, strip in zip(layer.sources, strips, strict=True)
        ]
        first_row = tile.first * stride_y - top - source.first
        # What a kernel row moves by: input rows, or from one operand to the other.
        tap_row, row = dilation_y, dilation_y * pitch
        if len(layer.sources) == 2:
            tap_row, row = 0, bases[1] - bases[0]
        dot = layer.unit is Unit.ARRAY
        loops, loop_plane = 1, 0
        if dot:
            loops, loop_plane = -(-layer.weight.shape[1] // config.lanes), source.plane
        elif layer.unit is Unit.SUM:
            loops = layer.weight.shape[1]
        in_base = bases[0] + first_row * pitch - left
        if not dot:
            in_base += part.channel // config.lanes * source.plane
        channel = self._view(layer.target).channel + part.channel
        out_word, sub_channel = divmod(channel, config.lanes)
        out_base = out.buffer.base + out_word * out.plane
        out_base += (tile.first - out.first) * out.layout.pitch
        buffers = [strip.buffer for strip in strips]
        self.stream.compute(
            Compute(
                layer=index,
                layer_end=int(last),
                wait_load=max(
                    weights.loads, out.buffer.loaded, *(buffer.loaded for buffer in buffers)
                ),
                wait_compute=max(buffer.written for buffer in buffers),
                wait_store=out.buffer.stored,
                unit=layer.unit,
                pixels=pixels,
                chunks=part.chunks,
                drain_cycles=pixels * part.chunks,
                filter_groups=part.filter_groups,
                channel_groups=loops,
                kernel_h=kernel_h,
                kernel_w=kernel_w,
                positions=positions,
                out_width=out_width,
                in_base=in_base,
                pad=layer.pad,
                in_height=source.rows,
                in_width=source.layout.width,
                row=first_row,
                column=-left,
                column_step=stride_x,
                row_step=stride_y,
                origin_wrap=stride_y * pitch - (out_width - 1) * stride_x,
                out_wrap=out.layout.pitch - (out_width - 1),
                tap_column=dilation_x,
                tap_row=tap_row,
                tap_row_origin=row - kernel_width,
                tap_group_origin=loop_plane - (kernel_h - 1) * row - kernel_width,
                group_origin=0 if dot else source.plane,
                weight_base=weights.weight_base,
                weight_step=int(not layer.shared_weight),
                param_base=weights.param_base,
                param_step=int(not layer.shared_params),
                sub=sub_channel // config.post_lanes,
                out_base=out_base,
                out_plane=out.plane,
                low=layer.low,
                high=layer.high,
            )
        )
        done = len(self.stream.computes)
        for buffer in buffers:
            buffer.used = done
        out.buffer.used = out.buffer.written = done
