"""Places tensors: in the activation memory, whole or as strips, and in the host's memory."""

from dataclasses import replace

import numpy as np

from hw.compiler.commands import ChipPlace, HostPlace, Strip
from hw.compiler.costs import compute_cycles
from hw.compiler.errors import CompileError
from hw.compiler.fused import is_piece
from hw.compiler.layer import HostRows, Layer, Lowered
from hw.compiler.layouts import choose_layouts
from hw.compiler.memory import NoRoom, Scratchpad
from hw.compiler.tiles import RowTile, row_tiles, span, stream_rows, tile_rows
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import PAGE_BYTES, Memory, Region, Unit
from hw.contract.program import Port
from hw.contract.words import TensorLayout, word_beats
from nbqnn_train.graph import Graph

__all__ = ["Crowded", "Placement", "Spill", "Tight", "Uses"]

#: (Root, image) -> index of the last layer that reads it, or writes it if none does.
Uses = dict[tuple[str, int | None], int]


class Spill(Exception):
    """A tensor that has to lie in the host's memory.

    Unless ``others``, which are at least half as large, take less room.
    """

    def __init__(self, root: str, others: tuple[str, ...] = ()):
        self.root = root
        self.others = others


class Crowded(Exception):
    """Tensors that compete for the memory and have gaps between their rows."""

    def __init__(self, roots: frozenset[str]):
        self.roots = roots


class Tight(Exception):
    """A concatenation whose strips have no place that is free early enough.

    cycles : in which all of its strips are loaded.
    largest : the largest tensor that is on the chip as a whole beside them; None if there is none.
    """

    def __init__(self, root: str, cycles: int, largest: str | None):
        self.root = root
        self.cycles = cycles
        self.largest = largest


class Placement:
    """Tensors and their places.

    spilled : roots that lie in the host's memory.
    narrow : tensors whose rows follow each other without gaps.
    layouts : of all stored tensors.
    resident : root -> its strip, for tensors that are on the chip.
    host_places : tensor -> where it lies in the host's memory.

    What does not fit raises :class:`Crowded` if others must be narrow, :class:`Spill` if another
    has to go to the host's memory, :class:`CompileError` if nothing helps.
    """

    def __init__(
        self,
        graph: Graph,
        config: AcceleratorConfig,
        lowered: Lowered,
        spilled: frozenset[str],
        narrow: frozenset[str],
    ):
        self.graph = graph
        self.config = config
        self.lowered = lowered
        self.spilled = spilled
        # Where layers share weights, the maps of all images stay between others.
        shared = any(layer.images > 1 for layer in lowered.layers)
        self.scratchpad = Scratchpad(config.act_depth, alternating=shared)
        self.layouts = choose_layouts(config, lowered, narrow)
        self.resident: dict[str, Strip] = {}
        self.host_places: dict[str, list[HostPlace]] = {}
        #: Constant map -> where it is in the region of parameters; and how long they are.
        self.constants: dict[str, int] = {}
        self.constant_bytes = 0
        for name in lowered.constants:
            self.constants[name] = self.constant_bytes
            self.constant_bytes += self._aligned_bytes(name)

    # The host's memory ----------------------------------------------------------------------------

    def ports(self, names: list[str]) -> list[Port]:
        """Ports for tensors that lie one behind the other in a region."""
        ports, offset = [], 0
        for name in names:
            memory = self.lowered.memory_of(name)
            ports.append(Port(name=name, offset=offset, layout=self.layouts[memory]))
            offset += self._aligned_bytes(memory)
        return ports

    def place_on_host(self, inputs: list[Port], outputs: list[Port], traced: list[Port]) -> int:
        """Fills ``host_places``; the bytes of the scratch region."""
        regions = (Region.INPUT, inputs), (Region.OUTPUT, outputs), (Region.SCRATCH, traced)
        for region, ports in regions:
            for port in ports:
                self.host_places.setdefault(self.lowered.memory_of(port.name), []).append(
                    HostPlace(region, port.offset)
                )
        scratch_bytes = sum(
            self._aligned_bytes(self.lowered.memory_of(port.name)) for port in traced
        )
        for name, offset in self.constants.items():
            self.host_places.setdefault(name, []).insert(0, HostPlace(Region.PARAMETERS, offset))
        for name in sorted(self.spilled - set(self.host_places)):
            self.host_places[name] = [HostPlace(Region.SCRATCH, scratch_bytes)]
            scratch_bytes += self._aligned_bytes(name)
        return scratch_bytes

    def packed_constants(self) -> bytes:
        """What the parameters begin with: the constant maps, of every image of the batch."""
        packed = bytearray(self.constant_bytes)
        for name, offset in self.constants.items():
            layout, codes = self.layouts[name], self.lowered.constants[name]
            codes = np.concatenate([codes] * self.lowered.batch, axis=1)
            content = layout.pack(self.config, codes).tobytes()
            packed[offset : offset + len(content)] = content
        return bytes(packed)

    def _aligned_bytes(self, name: str) -> int:
        align = PAGE_BYTES * self.config.axi_ports
        return -(-self.layouts[name].host_bytes(self.config) // align) * align

    # The chip -------------------------------------------------------------------------------------

    @property
    def inputs(self) -> list[str]:
        """The graph's inputs."""
        return [node.name for node in self.graph.input_nodes]

    @property
    def sources(self) -> list[str]:
        """What comes from the host's memory: the graph's inputs, and constant maps."""
        return [*self.inputs, *self.constants]

    def root(self, name: str) -> str:
        """The tensor that a stored tensor is a view of; it may be itself."""
        return self.lowered.view(name).root

    def rows(self, root: str, image: int | None) -> tuple[int, int]:
        """The first row of an image, and how many rows it has. None stands for all images.

        A strip is of one image.
        """
        height = self.layouts[root].height
        if image is None or is_piece(root):
            return 0, height
        height //= self.lowered.batch
        return image * height, height

    def instance(self, root: str, image: int | None) -> tuple[str, int | None]:
        """The root and the image of it that is on the chip for ``image``; None stands for all."""
        return root, None if root in self.lowered.whole else image

    def make_resident(self, root: str, image: int | None) -> Strip:
        """A place for all rows of an image."""
        try:
            buffer = self.scratchpad.allocate(self._words(root), fresh=is_piece(root))
        except NoRoom:
            raise self._no_room(root) from None
        first, rows = self.rows(*self.instance(root, image))
        self.resident[root] = Strip(buffer, self.layouts[root], first, rows)
        return self.resident[root]

    def free_unused(self, uses: Uses, index: int) -> None:
        """Frees the words of tensors that are not used after layer ``index``."""
        for (root, _), last in uses.items():
            if last == index and root in self.resident:
                self.scratchpad.free(self.resident.pop(root).buffer)

    def make_target(self, index: int, layer: Layer, uses: Uses) -> None:
        """Allocates words for a layer's result if it has none; a source's own words if possible."""
        target = self.root(layer.target)
        if target in self.spilled or target in self.resident:
            return
        reused = self._in_place(index, layer, target, uses)
        if reused is not None:
            self.resident[target] = self.resident.pop(reused)
        else:
            self.make_resident(target, layer.image)

    def cut(
        self, layer: Layer, moving: list[str], target: str | None
    ) -> tuple[list[RowTile], list[dict[str, Strip]], list[Strip | None]]:
        """Row tiles of a layer, and two strips for each tensor that is not on the chip.

        ``moving`` are the roots that the layer reads from the host's memory. ``target`` is the root
        that it writes there, or None. Returns the tiles, the strips of ``moving`` and those of the
        target; tiles use the strips in turn.
        """
        _, in_height = self.rows(self.root(layer.source), layer.image)
        height = len(span(layer))
        least = -(-height // min(height, stream_rows(self.config, layer)))
        # Two strips in turn, so that one is moved while the other is computed. If there is no room
        # for that, one strip.
        counts = {-(-height // count): count for count in range(height, least - 1, -1)}
        ways = [(tile_rows(height, count), 2) for count in reversed(counts.values())]
        ways.append(([1] * height, 1))
        if target is None and least > 1:
            compute = compute_cycles(self.config, layer)
            ways.insert(0, (tile_rows(height, least, compute / self._whole_load_cycles(moving)), 2))
        in_strips = any(map(is_piece, (layer.target, *layer.sources)))
        if in_strips:
            # One strip is moved while the layers beside it are computed.
            ways.insert(0, ([height], 1))
        for rows, copies in ways:
            tiles = row_tiles(layer, in_height, rows)
            in_rows = max(tile.in_end - tile.in_first for tile in tiles)
            strip_rows = dict.fromkeys(moving, in_rows)
            if target is not None:
                strip_rows[target] = max(rows)
            strips: list[dict[str, Strip]] = [{} for _ in range(min(copies, len(tiles)))]
            if self._allocate_strips(strip_rows, strips, fresh=in_strips):
                break
        else:
            if set(self.resident) - self.spilled:
                raise self._no_room()
            raise CompileError(
                self._too_long(layer, strip_rows),
                *(reason for other in self.lowered.layers if (reason := self._too_long(other))),
            )
        sources = [{root: strip[root] for root in moving} for strip in strips]
        targets = (
            [strip[target] for strip in strips]
            if target is not None
            else [self.resident[self.root(layer.target)]]
        )
        return tiles, sources, targets

    def _too_long(self, layer: Layer, strip_rows: dict[str, int] | None = None) -> str:
        """Why one row of a layer's result and what it reads do not fit; empty if they do.

        strip_rows : rows of each tensor that is not on the chip; without it the least that the
            layer needs with all tensors in the host's memory.
        """
        if strip_rows is None:
            target = self.root(layer.target)
            _, in_height = self.rows(self.root(layer.source), layer.image)
            tiles = row_tiles(layer, in_height, [1] * len(span(layer)))
            in_rows = max(tile.in_end - tile.in_first for tile in tiles)
            strip_rows = {self.root(name): in_rows for name in layer.sources} | {target: 1}
        words = sum(
            self.layouts[root].groups(self.config) * count * self.layouts[root].pitch
            for root, count in strip_rows.items()
        )
        depth = self.config.act_depth
        if words <= depth:
            return ""
        return (
            f"layer {layer.name}: {words} words of input and output for one row must fit "
            f"act_depth = {depth}, which is short by {words - depth}"
        )

    def last_uses(self, arrivals: dict[str, set[int]]) -> Uses:
        """``arrivals`` are the layers before which each input comes."""
        uses = {
            self.instance(source, self.lowered.layers[index].image): index
            for source, indices in arrivals.items()
            for index in sorted(indices)
            if self.lowered.layers
        }
        for index, layer in enumerate(self.lowered.layers):
            for name in (layer.target, *layer.sources):
                uses[self.instance(self.root(name), layer.image)] = index
        return uses

    def _words(self, root: str) -> int:
        """Words that a tensor takes on the chip."""
        _, rows = self.rows(*self.instance(root, 0))
        layout = self.layouts[root]
        return layout.groups(self.config) * rows * layout.pitch

    def _in_place(self, index: int, layer: Layer, target: str, uses: Uses) -> str | None:
        """A source whose words the result may take, because they are not needed once read."""
        window = layer.kernel == (1, 1) or len(layer.sources) == 2
        same = layer.stride == (1, 1) and not any(layer.padding)
        if layer.unit is Unit.ARRAY or layer.more or not (window and same):
            return None
        if target != layer.target:
            return None
        for name in layer.sources[: 1 if layer.shared_factor else None]:
            root = self.root(name)
            layouts = self.layouts[name], self.layouts[target]
            if (
                root == name
                and root in self.resident
                and uses[self.instance(root, layer.image)] == index
                and self._words(root) == self._words(target)
                and layouts[0].words(self.config) == layouts[1].words(self.config)
                and layouts[0].pitch == layouts[1].pitch
                and name not in self.lowered.views
                and target not in self.lowered.views
            ):
                return root
        return None

    def _allocate_strips(
        self, sizes: dict[str, int], strips: list[dict[str, Strip]], *, fresh: bool
    ) -> bool:
        """Fills ``strips``. If there is no room, leaves the memory as it was and returns False."""
        for strip in strips:
            for root, rows in sizes.items():
                layout = self.layouts[root]
                words = layout.groups(self.config) * rows * layout.pitch
                try:
                    strip[root] = Strip(self.scratchpad.allocate(words, fresh=fresh), layout)
                except NoRoom:
                    for made in (made for strip in strips for made in strip.values()):
                        self.scratchpad.free(made.buffer)
                    return False
        return True

    def _no_room(self, *wanted: str) -> Exception:
        """The exception to raise: without gaps first, because they cost less than spilling."""
        competing = {*self.resident, *wanted} - self.spilled
        layouts = {root: self.layouts[root] for root in competing}
        padded = frozenset(root for root in competing if layouts[root].pitch > layouts[root].width)
        if padded:
            return Crowded(padded)
        victim = self._victim(sorted(competing))
        most = self._words(victim)
        others = (root for root in sorted(competing) if 2 * self._words(root) >= most)
        return Spill(victim, tuple(root for root in others if root != victim))

    def host_rows(self, name: str, moved: HostRows) -> tuple[TensorLayout, ChipPlace]:
        """The layout of a tensor in the host's memory, and where rows of it are in a strip."""
        strip = self.resident[name]
        layout = replace(self.layouts[moved.tensor], pitch=strip.layout.pitch)
        rows = Strip(strip.buffer, strip.layout, moved.first, strip.rows)
        return layout, ChipPlace(rows, moved.channel)

    def _whole_load_cycles(self, roots: list[str]) -> int:
        """Cycles in which whole tensors are loaded."""
        words = sum(map(self._words, roots))
        return words * word_beats(self.config, Memory.ACT)

    def load_cycles(self, moved: HostRows) -> int:
        """Cycles in which rows of a tensor are loaded."""
        words = self.layouts[moved.tensor].row_words(self.config) * len(moved.rows)
        return words * word_beats(self.config, Memory.ACT)

    def largest_whole(self) -> str | None:
        """The largest tensor on the chip that is no strip and may leave it."""
        whole = sorted(
            root
            for root in set(self.resident) - self.spilled - set(self.sources)
            if not is_piece(root)
        )
        return max(whole, key=self._words, default=None)

    def is_stored_input(self, root: str) -> bool:
        """Whether it is an input that is also an output: it is stored from the chip."""
        return root in self.sources and len(self.host_places[root]) > 1

    def _victim(self, candidates: list[str]) -> str:
        """The largest of the tensors that compete for the memory."""
        stored = [name for name in self.sources if self.is_stored_input(name)]
        candidates = [root for root in candidates if root not in stored]
        if not candidates:
            words = sum(self._words(name) for name in stored)
            raise CompileError(
                f"layer {stored[0]}: {words} words of an input that is also an output must fit "
                f"act_depth = {self.config.act_depth}"
            )
        return max(candidates, key=self._words)
