"""Runs layer after layer: places for tensors, tiles, commands and what they wait for."""

from itertools import product

from hw.compiler.commands import Home, Place, Strip, compute_command, transfers
from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer, Lowered
from hw.compiler.layouts import choose_layouts
from hw.compiler.memory import NoRoom, Scratchpad
from hw.compiler.parameters import LoadedTile, ParameterLoader
from hw.compiler.stream import CommandStream
from hw.compiler.tiles import FilterTile, RowTile, filter_tiles, row_tiles, stream_rows
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Load, Region, Store, Unit
from hw.contract.program import Port, Program, ProgramLayer
from nbqnn_train.graph import Graph

__all__ = ["Crowded", "Schedule", "Spill"]

#: Alignment of what lies in the host's memory: a page, and any AXI burst.
_ALIGN = 4096


class Spill(Exception):
    """A tensor that has to lie in the host's memory."""

    def __init__(self, root: str):
        super().__init__(root)
        self.root = root


class Crowded(Exception):
    """Tensors that compete for the memory and have gaps between their rows."""

    def __init__(self, roots: frozenset[str]):
        super().__init__(*sorted(roots))
        self.roots = roots


class Schedule:
    """One attempt: layer after layer, with the tensors in ``spilled`` in the host's memory.

    The rows of those in ``narrow`` follow each other without gaps.
    :meth:`run` raises :class:`Crowded` where others must be narrow, :class:`Spill` where another
    has to go to the host's memory.
    """

    def __init__(
        self,
        graph: Graph,
        config: AcceleratorConfig,
        lowered: Lowered,
        spilled: frozenset[str],
        narrow: frozenset[str],
        traced: bool,
    ):
        self.graph = graph
        self.config = config
        self.lowered = lowered
        self.spilled = spilled
        self.traced = traced
        self.stream = CommandStream()
        self.scratchpad = Scratchpad(config.act_depth)
        self.parameters = ParameterLoader(config, self.stream)
        #: Of every layer: weights that do not fit end an attempt before it begins.
        self.parts = [filter_tiles(config, layer) for layer in lowered.layers]
        self.layouts = choose_layouts(config, lowered, narrow)
        self.resident: dict[str, Strip] = {}
        self.homes: dict[str, list[Home]] = {}
        #: Rows of tensors in the host's memory, and the stores that must be complete before they
        #: are there: (first, end, count).
        self.saved: dict[str, list[tuple[int, int, int]]] = {}

    def run(self, pack: bool) -> Program:
        layers = self.lowered.layers
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
            and not layer.image
            and layer.target in nodes
            and self.lowered.view(layer.target).channel % self.config.lanes == 0
        ])  # fmt: skip
        self.homes[source] = [Home(Region.INPUT, 0)]
        for region, ports in ((Region.OUTPUT, outputs), (Region.SCRATCH, traced)):
            for port in ports:
                self.homes.setdefault(self.lowered.memory_of(port.name), []).append(
                    Home(region, port.offset)
                )
        scratch_bytes = self._extent(traced)
        for name in sorted(self.spilled - set(self.homes)):
            self.homes[name] = [Home(Region.SCRATCH, scratch_bytes)]
            scratch_bytes += self._aligned_bytes(name)

        uses = self._last_uses()
        ready = self._ready(outputs, traced)
        if not layers:
            self._bring(0, source, None)
        for index, layer in enumerate(layers):
            if source not in self.spilled and index in self._arrivals(source):
                self._bring(index, source, layer.image)
            self._run_layer(index, layer, uses)
            for name in ready.get(index, ()):
                if self.lowered.view(name).root not in self.spilled:
                    for home in self.homes[name]:
                        self._store(index, name, self.resident[self.lowered.view(name).root], home)
            for (root, _), last in uses.items():
                if last == index and root in self.resident:
                    self.scratchpad.free(self.resident.pop(root).buffer)
        return Program(
            config=self.config,
            graph=self.graph,
            commands=self.stream.pack([layer.name for layer in layers]),
            parameters=self.parameters.packed() if pack else b"",
            input=inputs[0],
            fold=self.lowered.fold,
            outputs=tuple(outputs),
            traced=tuple(traced),
            scratch_bytes=scratch_bytes,
            layers=tuple(
                ProgramLayer(
                    name=layer.name, output=layer.target, macs=layer.macs, image=layer.image
                )
                for layer in layers
            ),
            batch=self.lowered.batch,
        )

    # Places ---------------------------------------------------------------------------------------

    def _rows(self, root: str, image: int | None) -> tuple[int, int]:
        """The first row of an image, and the rows that it has; None stands for all images."""
        height = self.layouts[root].height
        if image is None:
            return 0, height
        height //= self.lowered.batch
        return image * height, height

    def _instance(self, root: str, image: int | None) -> tuple[str, int | None]:
        """What is on the chip of a tensor when ``image`` is worked on: that image or all."""
        return root, None if root in self.lowered.whole else image

    def _words(self, root: str) -> int:
        """What a tensor takes on the chip."""
        _, rows = self._rows(*self._instance(root, 0))
        layout = self.layouts[root]
        return layout.groups(self.config) * rows * layout.pitch

    def _make_resident(self, root: str, image: int | None) -> Strip:
        """A place for all rows of an image; or what :meth:`run` raises."""
        try:
            buffer = self.scratchpad.allocate(self._words(root))
        except NoRoom:
            raise self._no_room(root) from None
        first, rows = self._rows(*self._instance(root, image))
        self.resident[root] = Strip(buffer, self.layouts[root], first, rows)
        return self.resident[root]

    def _arrivals(self, source: str) -> set[int]:
        """Before which layers the input has to be there: an image's first, or the very first."""
        images = [layer.image for layer in self.lowered.layers]
        if source in self.lowered.whole:
            images = images[:1]
        # Those for all images come last.
        return {images.index(image) for image in set(images) - {None}} or {0}

    def _bring(self, index: int, source: str, image: int | None):
        strip = self._make_resident(source, image)
        end = strip.first + strip.rows
        self._load(index, source, strip, strip.first, end, needed=len(self.stream.computes))
        # As much as its loads wait for, behind which it stands: they must not be fetched earlier.
        strip.buffer.written = strip.buffer.used
        # Before anything that may reuse its place.
        for home in self.homes[source][1:]:
            self._store(index, source, strip, home)

    def _no_room(self, *wanted: str) -> Exception:
        """What to raise: gaps cost less than the way to the host's memory and back."""
        competing = {*self.resident, *wanted} - self.spilled
        layouts = {root: self.layouts[root] for root in competing}
        padded = frozenset(root for root in competing if layouts[root].pitch > layouts[root].width)
        return Crowded(padded) if padded else Spill(self._victim(sorted(competing)))

    def _victim(self, candidates: list[str]) -> str:
        """The largest of the tensors that compete for the memory."""
        source = self.graph.input_nodes[0].name
        if len(self.homes[source]) > 1:
            # An input that is also an output is stored from the chip.
            candidates = [root for root in candidates if root != source]
        if not candidates:
            raise CompileError(
                f"layer {source}: {self._words(source)} words of an input that "
                f"is also an output must fit act_depth = {self.config.act_depth}"
            )
        return max(candidates, key=self._words)

    def _last_uses(self) -> dict[tuple[str, int | None], int]:
        """(Tensor, image) -> index of the last layer that reads it (or writes it, if none does)."""
        source = self.graph.input_nodes[0].name
        uses = {
            self._instance(source, layer.image): index
            for index, layer in enumerate(self.lowered.layers)
            if index in self._arrivals(source)
        }
        for index, layer in enumerate(self.lowered.layers):
            for name in (layer.target, *layer.sources):
                uses[self._instance(self.lowered.view(name).root, layer.image)] = index
        return uses

    def _ready(self, outputs: list[Port], traced: list[Port]) -> dict[int, list[str]]:
        """Layer's index -> tensors to be stored after it: it writes the last part of them."""
        ready: dict[int, list[str]] = {}
        for name in dict.fromkeys(
            self.lowered.memory_of(port.name) for port in (*outputs, *traced)
        ):
            own = self.lowered.view(name)
            channels = range(own.channel, own.channel + self.layouts[name].channels)
            # The last one of what is on the chip at a time.
            writers = {
                self._instance(own.root, layer.image): index
                for index, layer in enumerate(self.lowered.layers)
                if (view := self.lowered.view(layer.target)).root == own.root
                and view.channel in channels
            }
            for index in writers.values():
                ready.setdefault(index, []).append(name)
        return ready

    def _ports(self, names: list[str]) -> list[Port]:
        """Tensors one after the other in one region."""
        ports, offset = [], 0
        for name in names:
            memory = self.lowered.memory_of(name)
            ports.append(Port(name=name, offset=offset, layout=self.layouts[memory]))
            offset += self._aligned_bytes(memory)
        return ports

    def _aligned_bytes(self, name: str) -> int:
        align = _ALIGN * self.config.axi_ports
        return -(-self.layouts[name].host_bytes(self.config) // align) * align

    def _extent(self, ports: list[Port]) -> int:
        return sum(self._aligned_bytes(self.lowered.memory_of(port.name)) for port in ports)

    # Layers ---------------------------------------------------------------------------------------

    def _run_layer(self, index: int, layer: Layer, uses: dict[tuple[str, int | None], int]):
        roots = [self.lowered.view(name).root for name in layer.sources]
        target = self.lowered.view(layer.target).root
        moving = [root for root in dict.fromkeys(roots) if root in self.spilled]
        if moving and len(moving) < len(set(roots)):
            # Both operands of a sum are read with the same strides.
            raise Spill(next(root for root in roots if root not in self.spilled))
        held = {root: self.resident[root] for root in roots if root in self.resident}
        if target not in self.spilled and target not in self.resident:
            reused = self._in_place(index, layer, roots, target, uses)
            if reused is not None:
                self.resident[target] = self.resident.pop(reused)
            else:
                self._make_resident(target, layer.image)
        writes = target in self.spilled
        above, in_rows = self._rows(roots[0], layer.image)
        tiles = [RowTile(0, layer.out_shape[1], 0, in_rows)]
        sources: list[dict[str, Strip]] = [held]
        targets = [None if writes else self.resident[target]]
        if moving or writes:
            tiles, strips, targets = self._cut(layer, moving, target if writes else None)
            sources = strips if moving else sources

        parts = self.parts[index]
        count = len(tiles) * len(parts)
        kept = self.parameters.fit(parts)
        start = len(self.stream.computes)
        loaded: dict[int, LoadedTile] = {}
        for number, (row, part) in enumerate(product(range(len(tiles)), range(len(parts)))):
            tile = tiles[row]
            strips = sources[row % len(sources)]
            out = targets[row % len(targets)]
            if part == 0:
                rows = above + tile.in_first, above + tile.in_end
                for root in moving:
                    self._load(index, root, strips[root], *rows, start + number)
                if writes:
                    out.first = self._rows(target, layer.image)[0] + tile.first
                    out.rows = tile.end - tile.first
            if not kept or part not in loaded:
                # The last command that reads them.
                reader = start + (count - len(parts) + part if kept else number)
                loaded[part] = self.parameters.load(index, parts[part], start + number, reader + 1)
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
                    self._store(index, layer.target, out, home)
        for strips in sources if moving else ():
            for strip in strips.values():
                self.scratchpad.free(strip.buffer)
        for strip in targets if writes else ():
            self.scratchpad.free(strip.buffer)

    def _in_place(
        self,
        index: int,
        layer: Layer,
        roots: list[str],
        target: str,
        uses: dict[tuple[str, int | None], int],
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
                and uses[self._instance(root, layer.image)] == index
                and self._words(root) == self._words(target)
                and layouts[0].words(self.config) == layouts[1].words(self.config)
                and layouts[0].pitch == layouts[1].pitch
                and name not in self.lowered.views
                and target not in self.lowered.views
            ):
                return root
        return None

    def _cut(
        self, layer: Layer, moving: list[str], target: str | None
    ) -> tuple[list[RowTile], list[dict[str, Strip]], list[Strip | None]]:
        """Row tiles, and two places for the strips of each tensor that is not on the chip.

        Raises what :meth:`run` does where another tensor has to make room, :class:`CompileError`
        where there is none.
        """
        height = layer.out_shape[1]
        _, in_height = self._rows(self.lowered.view(layer.source).root, layer.image)
        most = stream_rows(self.config, layer)
        sizes = [-(-height // count) for count in range(-(-height // most), height + 1)]
        # Two strips in turn, so that one is moved while the other is computed; at worst only one.
        for rows, copies in (*((rows, 2) for rows in dict.fromkeys(sizes)), (1, 1)):
            tiles = row_tiles(layer, in_height, rows)
            in_rows = max(tile.in_end - tile.in_first for tile in tiles)
            strip_rows = dict.fromkeys(moving, in_rows)
            if target is not None:
                strip_rows[target] = rows
            strips: list[dict[str, Strip]] = [{} for _ in range(min(copies, len(tiles)))]
            if self._allocate_strips(strip_rows, strips):
                break
        else:
            if set(self.resident) - self.spilled:
                raise self._no_room()
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
            else [self.resident[self.lowered.view(layer.target).root]]
        )
        return tiles, sources, targets

    def _allocate_strips(self, sizes: dict[str, int], strips: list[dict[str, Strip]]) -> bool:
        """Fills ``strips``, or leaves the memory as it was and returns False."""
        for strip in strips:
            for root, rows in sizes.items():
                layout = self.layouts[root]
                words = layout.groups(self.config) * rows * layout.pitch
                try:
                    strip[root] = Strip(self.scratchpad.allocate(words), layout)
                except NoRoom:
                    for made in (made for strip in strips for made in strip.values()):
                        self.scratchpad.free(made.buffer)
                    return False
        return True

    # Commands -------------------------------------------------------------------------------------

    def _load(self, index: int, root: str, strip: Strip, first: int, end: int, needed: int):
        """Rows ``first`` to before ``end`` into a strip, which then begins with them."""
        strip.first, strip.rows = first, end - first
        buffer, home = strip.buffer, self.homes[root][0]
        saved = [
            stores
            for begin, until, stores in self.saved.get(root, ())
            if begin < end and first < until
        ]
        for fields in transfers(
            self.config, self.layouts[root], Place(strip, 0), first, end - first, home
        ):
            self.stream.load(
                Load(
                    layer=index,
                    wait_compute=buffer.used,
                    wait_store=max(buffer.stored, *saved, 0),
                    **fields,
                ),
                needed,
            )
        buffer.loaded = len(self.stream.loads)

    def _store(self, index: int, name: str, strip: Strip, home: Home):
        buffer, place = strip.buffer, Place(strip, self.lowered.view(name).channel)
        for fields in transfers(
            self.config, self.layouts[name], place, strip.first, strip.rows, home
        ):
            self.stream.store(
                Store(
                    layer=index,
                    wait_compute=buffer.written,
                    wait_load=buffer.loaded,
                    **fields,
                )
            )
        buffer.stored = len(self.stream.stores)
        rows = (strip.first, strip.first + strip.rows, buffer.stored)
        self.saved.setdefault(name, []).append(rows)

    def _compute(
        self,
        index: int,
        part: FilterTile,
        tile: RowTile,
        strips: list[Strip],
        out: Strip,
        weights: LoadedTile,
        *,
        last: bool,
    ):
        layer = part.layer
        *sources, target = (
            Place(strip, self.lowered.view(name).channel, *self._rows(name, layer.image))
            for name, strip in zip((*layer.sources, layer.target), (*strips, out), strict=True)
        )
        command = compute_command(self.config, index, part, tile, sources, target, last=last)
        read = [strip.buffer for strip in strips]
        command.weight_base, command.param_base = weights.weight_base, weights.param_base
        command.wait_load = max(
            weights.loads, out.buffer.loaded, *(buffer.loaded for buffer in read)
        )
        command.wait_compute = max(buffer.written for buffer in read)
        command.wait_store = out.buffer.stored
        self.stream.compute(command)
        done = len(self.stream.computes)
        for buffer in read:
            buffer.used = done
        out.buffer.used = out.buffer.written = done
