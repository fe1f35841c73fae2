"""Runs layer after layer: tiles, commands, and what they wait for."""

from dataclasses import replace

from hw.compiler.commands import ChipPlace, HostPlace, Strip, compute_command, transfers
from hw.compiler.errors import CompileError
from hw.compiler.fused import piece_of
from hw.compiler.layer import HostRows, Layer, Lowered
from hw.compiler.parameters import LoadedTile, ParameterLoader, last_readers
from hw.compiler.placement import Placement, Spill, Tight, Uses
from hw.compiler.stream import CommandStream
from hw.compiler.tiles import FilterTile, RowTile, all_filter_tiles, row_tiles, span
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Load, Store
from hw.contract.program import Port, Program, ProgramLayer
from hw.contract.words import TensorLayout
from nbqnn_train.graph import Graph

__all__ = ["Schedule"]


class Schedule:
    """One attempt at a program, with the tensors in ``spilled`` in the host's memory.

    The rows of those in ``narrow`` follow each other without gaps. :meth:`run` raises what
    :class:`Placement` does where this does not fit, and :class:`Tight` for strips of concatenations
    that are not in ``settled`` and cannot be loaded ahead of use.
    """

    def __init__(
        self,
        graph: Graph,
        config: AcceleratorConfig,
        lowered: Lowered,
        spilled: frozenset[str],
        narrow: frozenset[str],
        traced: frozenset[str],
        settled: frozenset[str] = frozenset(),
    ):
        self.graph = graph
        self.config = config
        self.lowered = lowered
        self.traced = traced
        self.settled = settled
        self.stream = CommandStream()
        #: The filter tiles of every layer; made first, because weights that do not fit end it all.
        self.filter_tiles = all_filter_tiles(config, lowered.layers)
        self.placement = Placement(graph, config, lowered, spilled, narrow)
        self.parameters = ParameterLoader(config, self.stream, self.placement.constant_bytes)
        #: Tensor in the host's memory -> (first row, end, count): rows that are there when so many
        #: stores are complete.
        self.saved: dict[str, list[tuple[int, int, int]]] = {}

    def run(self, pack: bool) -> Program:
        layers, placement = self.lowered.layers, self.placement
        inputs = placement.ports(placement.inputs)
        outputs = placement.ports(list(dict.fromkeys(self.graph.outputs)))
        traced = placement.ports(self._traced())
        scratch_bytes = placement.place_on_host(inputs, outputs, traced)
        arrivals = {source: self._arrivals(source) for source in placement.sources}
        uses = placement.last_uses(arrivals)
        ready = self._ready(outputs, traced)
        if any(layer.images > 1 for layer in layers):
            # Below all others, so that what is free is in one piece for every image.
            single = (placement.root(one.target) for one in layers if one.image is not None)
            for root in dict.fromkeys(single):
                if root in self.lowered.whole and root not in placement.spilled:
                    placement.make_resident(root, None)
        if not layers:
            for source in placement.sources:
                self._bring(0, source, None)
        for index, layer in enumerate(layers):
            for source, indices in arrivals.items():
                if source not in placement.spilled and index in indices:
                    self._bring(index, source, layer.image)
            self._run_layer(index, layer, uses)
            if layer.target in self.lowered.kept:
                self._keep(index, layer.target, self.lowered.kept[layer.target])
            for name in ready.get(index, ()):
                root = placement.root(name)
                if root not in placement.spilled:
                    for host_place in placement.host_places[name]:
                        self._store(index, name, placement.resident[root], host_place)
            placement.free_unused(uses, index)
        return Program(
            config=self.config,
            graph=self.graph,
            commands=self.stream.pack([layer.name for layer in layers]),
            parameters=self._packed() if pack else b"",
            inputs=tuple(inputs),
            blocks=self.lowered.blocks,
            outputs=tuple(outputs),
            traced=tuple(traced),
            scratch_bytes=scratch_bytes,
            layers=tuple(
                ProgramLayer(
                    name=layer.name,
                    output=piece_of(layer.target),
                    macs=layer.macs,
                    image=layer.image,
                )
                for layer in layers
            ),
            batch=self.lowered.batch,
        )

    def _packed(self) -> bytes:
        constants = self.placement.packed_constants()
        return constants + self.parameters.packed()[len(constants) :]

    # When tensors come and go ---------------------------------------------------------------------

    def _traced(self) -> list[str]:
        """Results of layers that are stored for a trace.

        A tensor that begins inside a word cannot be stored.
        """
        return [
            layer.target
            for layer in self.lowered.layers
            if not layer.image
            and layer.target in self.traced
            and self.lowered.view(layer.target).channel % self.config.lanes == 0
        ]

    def _arrivals(self, source: str) -> set[int]:
        """The layers before which an input comes: an image's first one that reads it."""
        placement, layers = self.placement, self.lowered.layers
        readers = [
            index
            for index, layer in enumerate(layers)
            if source in map(placement.root, layer.sources)
        ] or range(len(layers))
        if source in self.lowered.whole:
            return {min(readers, default=0)}
        first: dict[int | None, int] = {}
        for index in readers:
            first.setdefault(layers[index].image, index)
        # Those for all images come last.
        return {index for image, index in first.items() if image is not None} or {0}

    def _ready(self, outputs: list[Port], traced: list[Port]) -> dict[int, list[str]]:
        """Layer's index -> tensors to be stored after it: it is the last one that writes them."""
        ready: dict[int, list[str]] = {}
        for name in dict.fromkeys(
            self.lowered.memory_of(port.name) for port in (*outputs, *traced)
        ):
            own = self.lowered.view(name)
            channels = range(own.channel, own.channel + self.placement.layouts[name].channels)
            # The last writer of what is on the chip at one time.
            writers = {
                self.placement.instance(own.root, layer.image): index
                for index, layer in enumerate(self.lowered.layers)
                if (view := self.lowered.view(layer.target)).root == own.root
                and view.channel in channels
            }
            for index in writers.values():
                ready.setdefault(index, []).append(name)
        return ready

    def _bring(self, index: int, source: str, image: int | None):
        """Loads all rows of the input."""
        strip = self.placement.make_resident(source, image)
        end = strip.first + strip.rows
        self._load(index, source, strip, strip.first, end, needed=len(self.stream.computes))
        # The loads must not be fetched before the commands that they wait for.
        strip.buffer.written = strip.buffer.used
        # These stores come before anything that may reuse the words.
        for host_place in self.placement.host_places[source][1:]:
            self._store(index, source, strip, host_place)

    # Layers ---------------------------------------------------------------------------------------

    def _run_layer(self, index: int, layer: Layer, uses: Uses):
        placement = self.placement
        roots = [placement.root(name) for name in layer.sources]
        target = placement.root(layer.target)
        moving = [root for root in dict.fromkeys(roots) if root in placement.spilled]
        if layer.shared_factor:
            self._check_factor(layer, moving)
        elif moving and len(moving) < len(set(roots)):
            # Both operands of a sum or product are read with the same strides.
            root = next(root for root in roots if root not in placement.spilled)
            if placement.is_stored_input(root):
                raise CompileError(
                    f"layer {layer.name}: both operands must fit act_depth = "
                    f"{self.config.act_depth}, because {root} is an input that is also an output"
                )
            raise Spill(root)
        if layer.images > 1 and (moving or target in placement.spilled):
            # Its operands and results are those of all images.
            raise Spill(moving[0] if moving else target)
        held = {root: placement.resident[root] for root in roots if root in placement.resident}
        if target not in placement.resident:
            for rows in self.lowered.brought.get(target, ()):
                self._bring_rows(index, target, rows)
        placement.make_target(index, layer, uses)
        writes = target in placement.spilled
        images = [layer.image] if layer.images == 1 else range(layer.images)
        above, in_height = placement.rows(roots[0], images[0])
        out_above, _ = placement.rows(target, images[0])
        row_cut = row_tiles(layer, in_height, [len(span(layer))])
        sources: list[dict[str, Strip]] = [held]
        targets = [None if writes else placement.resident[target]]
        if moving or writes:
            row_cut, strips, targets = placement.cut(layer, moving, target if writes else None)
            sources = strips if moving else sources

        filter_cut = self.filter_tiles[index]
        # Not every part has positions in every row tile.
        jobs = [
            (row, filter_tile, image)
            for row, row_tile in enumerate(row_cut)
            for filter_tile in filter_cut
            if filter_tile.layer.rows_within(row_tile.first, row_tile.end)
            for image in images
        ]
        kept = self.parameters.fit(filter_cut)
        start = len(self.stream.computes)
        table_loads = 0
        readers = last_readers([tile.key for _, tile, _ in jobs], kept)
        loaded: dict[tuple[str, int, int], LoadedTile] = {}
        for number, (row, filter_tile, image) in enumerate(jobs):
            row_tile = row_cut[row]
            strips = sources[row % len(sources)]
            out = targets[row % len(targets)]
            if number == 0 or jobs[number - 1][0] != row:
                rows = above + row_tile.in_first, above + row_tile.in_end
                for root in moving:
                    self._load(index, root, strips[root], *rows, start + number)
                if writes:
                    out.first = out_above + row_tile.first
                    out.rows = row_tile.end - row_tile.first
            if number in readers:
                loaded[filter_tile.key] = self.parameters.load(
                    index, filter_tile, start + number, start + readers[number] + 1
                )
            if number == 0 and layer.table is not None:
                # It may have to wait for earlier layers: behind weights, which need not.
                end = start + len(jobs)
                table_loads = self.parameters.load_table(index, layer.table, start, end)
            tile = loaded[filter_tile.key]
            self._compute(
                index,
                filter_tile,
                image,
                row_tile,
                [(held | strips)[root] for root in roots],
                out,
                replace(tile, loads=max(tile.loads, table_loads)),
                last=number == len(jobs) - 1,
            )
            if writes and (number == len(jobs) - 1 or jobs[number + 1][0] != row):
                for host_place in placement.host_places[layer.target]:
                    self._store(index, layer.target, out, host_place)
        for strips in sources if moving else ():
            for strip in strips.values():
                placement.scratchpad.free(strip.buffer)
        for strip in targets if writes else ():
            placement.scratchpad.free(strip.buffer)

    def _check_factor(self, layer: Layer, moving: list[str]):
        """Raises :class:`CompileError` for a factor of each channel that is not on the chip."""
        factor = layer.sources[1]
        if self.placement.root(factor) in moving:
            words = self.placement.layouts[factor].words(self.config)
            raise CompileError(
                f"layer {layer.name}: {words} words of factors beside two rows of a map must fit "
                f"act_depth = {self.config.act_depth}"
            )

    # Commands -------------------------------------------------------------------------------------

    def _load(self, index: int, root: str, strip: Strip, first: int, end: int, needed: int):
        """Loads rows ``first`` to before ``end`` into a strip, which then begins with ``first``."""
        strip.first, strip.rows = first, end - first
        layout, place = self.placement.layouts[root], ChipPlace(strip, 0)
        self._load_rows(index, layout, place, root, range(first, end), needed)

    def _bring_rows(self, index: int, name: str, moved: HostRows):
        """Loads rows of another tensor into a strip, whose first layer they precede."""
        placement = self.placement
        if name not in placement.resident:
            placement.make_resident(name, None)
        used = placement.resident[name].buffer.used
        if used:
            self._check_ahead(name, used)
        layout, place = placement.host_rows(name, moved)
        needed = len(self.stream.computes)
        self._load_rows(index, layout, place, moved.tensor, moved.rows, needed)

    def _load_rows(
        self,
        index: int,
        layout: TensorLayout,
        place: ChipPlace,
        tensor: str,
        rows: range,
        needed: int,
    ):
        """Loads rows of a tensor to a place, behind the stores that write them."""
        buffer, host_place = place.strip.buffer, self.placement.host_places[tensor][0]
        saved = [
            stores
            for begin, end, stores in self.saved.get(tensor, ())
            if begin < rows.stop and rows.start < end
        ]
        for load in transfers(self.config, Load, layout, place, rows.start, len(rows), host_place):
            load.layer = index
            load.wait_compute = buffer.used
            load.wait_store = max(buffer.stored, *saved, 0)
            self.stream.load(load, needed)
        buffer.loaded = len(self.stream.loads)

    def _check_ahead(self, name: str, used: int):
        """Raises :exc:`Tight` if a strip's loads take longer than the commands since ``used``."""
        root = piece_of(name)
        loads = {
            strip: sum(self.placement.load_cycles(rows) for rows in moved)
            for strip, moved in self.lowered.brought.items()
            if piece_of(strip) == root
        }
        if root not in self.settled and self.stream.cycles_since(used) < loads[name]:
            raise Tight(root, sum(loads.values()), self.placement.largest_whole())

    def _keep(self, index: int, name: str, moved: HostRows):
        """Stores rows of a strip as those of another tensor."""
        layout, place = self.placement.host_rows(name, moved)
        host_place = self.placement.host_places[moved.tensor][0]
        self._store_rows(index, layout, place, moved.tensor, moved.rows, host_place)

    def _store(self, index: int, name: str, strip: Strip, host_place: HostPlace):
        """Stores the rows of a strip in the host's memory."""
        layout = self.placement.layouts[name]
        place = ChipPlace(strip, self.lowered.view(name).channel)
        rows = range(strip.first, strip.first + strip.rows)
        self._store_rows(index, layout, place, name, rows, host_place)

    def _store_rows(
        self,
        index: int,
        layout: TensorLayout,
        place: ChipPlace,
        tensor: str,
        rows: range,
        host_place: HostPlace,
    ):
        """Stores rows of a tensor from a place, behind what computes them."""
        buffer = place.strip.buffer
        for store in transfers(
            self.config, Store, layout, place, rows.start, len(rows), host_place
        ):
            store.layer = index
            store.wait_compute = buffer.written
            store.wait_load = buffer.loaded
            self.stream.store(store)
        buffer.stored = len(self.stream.stores)
        buffer.leaving = len(self.stream.computes)
        saved = (rows.start, rows.stop, buffer.stored)
        self.saved.setdefault(tensor, []).append(saved)

    def _compute(
        self,
        index: int,
        filter_tile: FilterTile,
        image: int | None,
        row_tile: RowTile,
        strips: list[Strip],
        out: Strip,
        weights: LoadedTile,
        *,
        last: bool,
    ):
        layer = filter_tile.layer
        *sources, target = (
            ChipPlace(strip, self.lowered.view(name).channel, *self.placement.rows(name, image))
            for name, strip in zip((*layer.sources, layer.target), (*strips, out), strict=True)
        )
        command = compute_command(
            self.config, index, filter_tile, row_tile, sources, target, last=last
        )
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
