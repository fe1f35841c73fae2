"""Schedules layers on the accelerator: places, tiles, commands and what they wait for."""

from dataclasses import dataclass

import numpy as np

from hw.compiler.allocate import Ring, Scratchpad
from hw.compiler.lower import Layer, Lowered, lower
from hw.config import AcceleratorConfig
from hw.control.transfer import word_beats
from hw.fold import ChannelParams, CompileError
from hw.isa import Command, Compute, End, Load, Memory, Opcode, Region, Store, Unit, pack
from hw.layout import TensorLayout, pack_params, pack_vector_weights, pack_weights
from hw.program import Port, Program, ProgramLayer
from hw.registers import LAYERS
from nbqnn_train.graph import Graph, validate

__all__ = ["compile_graph"]

#: Alignment of what lies in the host's memory: a page, and any AXI burst.
_ALIGN = 4096
_MAX_FIELD = (1 << 16) - 1


def compile_graph(graph: Graph, config: AcceleratorConfig, *, traced: bool = False) -> Program:
    """The program that computes ``graph`` on an accelerator of ``config``, image by image.

    Feature maps stay on the chip; weights and parameters are loaded ahead of use while the layer
    before is computed. With ``traced``, every node's codes are also stored in the scratch region.

    Raises :class:`CompileError` naming the layer, the number and the limit that do not fit.
    """
    validate(graph)
    lowered = lower(graph, config)
    if len(lowered.layers) > LAYERS:
        raise CompileError(f"a graph of {len(lowered.layers)} layers; at most {LAYERS} fit")
    return _Compilation(graph, config, lowered, traced).run()


@dataclass(frozen=True)
class _Tile:
    """Filter groups of a layer whose weights are loaded together."""

    layer: Layer
    index: int
    #: First output channel and number of filter groups.
    channel: int
    filter_groups: int
    #: Chunks of post_lanes channels per filter group.
    chunks: int
    last: bool


class _Compilation:
    def __init__(self, graph: Graph, config: AcceleratorConfig, lowered: Lowered, traced: bool):
        self.graph = graph
        self.config = config
        self.lowered = lowered
        self.traced = traced
        self.commands: list[Command] = []
        self.counts = dict.fromkeys((Opcode.LOAD, Opcode.COMPUTE, Opcode.STORE), 0)
        self.parameters = bytearray()
        self.scratchpad = Scratchpad(config.act_depth)
        self.weights = Ring(config.weight_depth)
        self.params = Ring(config.param_depth)
        self.layouts: dict[str, TensorLayout] = {}
        self.bases: dict[str, int] = {}

    def run(self) -> Program:
        layers = self.lowered.layers
        self._choose_layouts()
        source = self.graph.input_nodes[0].name
        inputs = self._ports([source])
        outputs = self._ports(list(dict.fromkeys(self.graph.outputs)))
        # Steps of a concatenation have no node of their own in the graph.
        nodes = {node.name for node in self.graph.nodes}
        traced = self._ports(
            [layer.target for layer in layers if self.traced and layer.target in nodes]
        )

        self._allocate(source, source)
        self._transfer(Load, source, Region.INPUT, 0)
        # Before anything that may reuse its place.
        for port in outputs:
            if self._memory_of(port.name) == source:
                self._transfer(Store, source, Region.OUTPUT, port.offset)
        uses = self._last_uses()
        tiles = [tile for index, layer in enumerate(layers) for tile in self._tiles(index, layer)]
        loaded, late = [], []
        for position, tile in enumerate(tiles):
            # One tile ahead: the engine loads it while the array works on this one. Unless it takes
            # this one's place: its commands would then keep those of this one from the engines.
            for load in late:
                self._emit(load)
            late = []
            while len(loaded) <= min(position + 1, len(tiles) - 1):
                *bases, loads = self._load_tile(tiles[len(loaded)], len(loaded))
                for load in loads:
                    if load.wait_compute > position:
                        late.append(load)
                    else:
                        self._emit(load)
                loaded.append((*bases, self.counts[Opcode.LOAD] + len(late)))
            layer = tile.layer
            if layer.target not in self.bases:
                self._allocate(layer.target, layer.name)
            self._compute(tile, *loaded[position])
            if not tile.last:
                continue
            for port in traced:
                if port.name == layer.target:
                    self._transfer(Store, layer.target, Region.SCRATCH, port.offset)
            for port in outputs:
                if self._memory_of(port.name) == layer.target:
                    self._transfer(Store, layer.target, Region.OUTPUT, port.offset)
            for name in [name for name, last in uses.items() if last == tile.index]:
                self.scratchpad.free(name)
        self._emit(End())
        if len(self.commands) > _MAX_FIELD:
            raise CompileError(f"a program of {len(self.commands)} commands; at most {_MAX_FIELD}")
        return Program(
            config=self.config,
            graph=self.graph,
            commands=b"".join(map(self._packed, self.commands)),
            parameters=bytes(self.parameters),
            input=inputs[0],
            outputs=tuple(outputs),
            traced=tuple(traced),
            layers=tuple(
                ProgramLayer(name=layer.name, output=layer.target, macs=layer.macs)
                for layer in layers
            ),
        )

    # Places ---------------------------------------------------------------------------------------

    def _memory_of(self, name: str) -> str:
        return self.lowered.aliases.get(name, name)

    def _choose_layouts(self):
        """For each tensor the narrowest pitch with which its readers reach the most pixels."""
        # Operands of one addition are read with the same steps, so they have the same pitch.
        together = {name: {name} for name in self.lowered.shapes}
        for layer in self.lowered.layers:
            merged = set().union(*(together[name] for name in layer.sources))
            together.update(dict.fromkeys(merged, merged))
        for name, (channels, height, width) in self.lowered.shapes.items():
            readers = [layer for layer in self.lowered.layers if layer.source in together[name]]
            pitches = range(width, width + self.config.banks)
            pitch = max(
                pitches,
                key=lambda pitch: (sum(self._pixels(layer, pitch) for layer in readers), -pitch),
            )
            self.layouts[name] = TensorLayout(
                channels=channels,
                height=height,
                width=width,
                pitch=pitch,
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

    def _allocate(self, name: str, layer: str):
        words = self.layouts[name].words(self.config)
        self.bases[name] = self.scratchpad.allocate(name, words, layer)

    def _last_uses(self) -> dict[str, int]:
        """Tensor -> index of the last layer that reads it (or writes it, if none does)."""
        uses = {self.graph.input_nodes[0].name: 0}
        for index, layer in enumerate(self.lowered.layers):
            uses[layer.target] = index
            uses.update(dict.fromkeys(layer.sources, index))
        return uses

    def _ports(self, names: list[str]) -> list[Port]:
        """Tensors one after the other in one region."""
        ports, offset = [], 0
        for name in names:
            layout = self.layouts[self._memory_of(name)]
            ports.append(Port(name=name, offset=offset, layout=layout))
            offset += -(-layout.host_bytes(self.config) // _ALIGN) * _ALIGN
        return ports

    # Commands -------------------------------------------------------------------------------------

    def _emit(self, command: Command):
        self.commands.append(command)
        if command.opcode in self.counts:
            self.counts[command.opcode] += 1

    def _packed(self, command: Command) -> bytes:
        try:
            return pack(command)
        except ValueError as error:
            # Only sizes of layers can be too large; transfers are split.
            layer = self.lowered.layers[command.layer].name
            raise CompileError(f"layer {layer}: {error}") from None

    def _transfer(self, kind: type[Load] | type[Store], name: str, region: Region, offset: int):
        """A whole tensor between the host's memory and its place on the chip."""
        layout = self.layouts[name]
        beats = word_beats(self.config, Memory.ACT)
        rows, words = layout.groups(self.config) * layout.height, layout.width
        if layout.pitch == layout.width and rows * words * beats <= _MAX_FIELD:
            rows, words = 1, rows * words
        self._emit(
            kind(
                wait_compute=self.counts[Opcode.COMPUTE],
                wait_load=self.counts[Opcode.LOAD] if kind is Store else 0,
                region=region,
                memory=Memory.ACT,
                offset=offset // self.config.axi_ports,
                base=self.bases[name],
                words=words,
                rows=rows,
                beats=words * beats,
                base_stride=layout.pitch,
                offset_stride=words * beats * self.config.axi_data_width // 8,
            )
        )

    def _group_width(self, layer: Layer) -> int:
        """Output channels of a filter group."""
        return self.config.filters if layer.unit is Unit.ARRAY else self.config.lanes

    def _tiles(self, index: int, layer: Layer) -> list[_Tile]:
        """Filter groups that fit in half the weight memory; a shorter last one stands alone.

        The filter groups of channel-wise layers are the groups of ``lanes`` channels.
        """
        config = self.config
        outputs = layer.out_shape[0]
        width = self._group_width(layer)
        if layer.unit is Unit.MAX:
            steps = 0
        else:
            depth = -(-layer.weight.shape[1] // config.lanes)
            loops = depth if layer.unit is Unit.ARRAY else layer.weight.shape[1]
            steps = loops * layer.kernel[0] * layer.kernel[1]
        if steps > config.weight_depth:
            raise CompileError(
                f"layer {layer.name}: {steps} words of weights of one filter group must fit "
                f"weight_depth = {config.weight_depth}"
            )
        chunks = width // config.post_lanes
        if chunks > config.param_depth:
            raise CompileError(
                f"layer {layer.name}: {chunks} words of parameters of one filter group must fit "
                f"param_depth = {config.param_depth}"
            )
        # Weights and parameters that all groups share take no more room for more groups.
        by_weights = (
            config.weight_depth // 2 // steps if steps and not layer.shared_weight else outputs
        )
        by_params = outputs if layer.shared_params else config.param_depth // 2 // chunks
        most = max(1, min(by_weights, by_params))
        tiles = []
        channel = 0
        while channel < outputs:
            left = outputs - channel
            full = left // width if layer.unit is Unit.ARRAY else -(-left // width)
            if full:
                groups, tile_chunks = min(most, full), chunks
            else:
                groups, tile_chunks = 1, -(-left // config.post_lanes)
            tiles.append(_Tile(layer, index, channel, groups, tile_chunks, False))
            channel += groups * width
        last = tiles[-1]
        tiles[-1] = _Tile(layer, index, last.channel, last.filter_groups, last.chunks, True)
        return tiles

    def _load_tile(self, tile: _Tile, position: int) -> tuple[int, int, list[Load]]:
        """Places for a tile's weights and parameters, and the commands that load them.

        ``position`` is the number of the compute command that will use them.
        """
        config, layer = self.config, tile.layer
        width = self._group_width(layer)
        channels = slice(tile.channel, tile.channel + tile.filter_groups * width)
        weight_base, loads = 0, []
        if layer.weight is not None:
            if layer.unit is Unit.ARRAY:
                weights = pack_weights(config, layer.weight[channels])
            else:
                chosen = layer.weight if layer.shared_weight else layer.weight[channels]
                weights = pack_vector_weights(config, chosen)
            weight_base, loads = self._load_words(
                Memory.WEIGHT, self.weights, weights, position + 1
            )
        params = layer.params
        if not layer.shared_params:
            # A filter group has parameters for all its filters' chunks.
            params = _padded(
                layer.params, channels, tile.filter_groups * tile.chunks * config.post_lanes
            )
        words = pack_params(config, params)
        if len(words) > config.param_depth:
            raise CompileError(
                f"layer {layer.name}: {len(words)} words of parameters must fit param_depth = "
                f"{config.param_depth}"
            )
        param_base, more = self._load_words(Memory.PARAM, self.params, words, position + 1)
        return weight_base, param_base, loads + more

    def _load_words(
        self, memory: Memory, ring: Ring, words: np.ndarray, reader: int
    ) -> tuple[int, list[Load]]:
        config = self.config
        base, free_after = ring.allocate(len(words), reader)
        offset = len(self.parameters)
        self.parameters += words.tobytes()
        self.parameters += bytes(-len(self.parameters) % 64)
        beats = word_beats(config, memory)
        most = _MAX_FIELD // beats
        done, loads = 0, []
        while done < len(words):
            count = min(most, len(words) - done)
            loads.append(
                Load(
                    wait_compute=free_after,
                    region=Region.PARAMETERS,
                    memory=memory,
                    offset=(offset + done * words.shape[1]) // config.axi_ports,
                    base=base + done,
                    words=count,
                    rows=1,
                    beats=count * beats,
                )
            )
            done += count
        return base, loads

    def _compute(self, tile: _Tile, weight_base: int, param_base: int, loads: int):
        config, layer = self.config, tile.layer
        source, target = self.layouts[layer.source], self.layouts[layer.target]
        (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
        (top, left, _, _), (dilation_y, dilation_x) = layer.padding, layer.dilation
        _, out_height, out_width = layer.out_shape
        pixels = min(self._pixels(layer, source.pitch), out_height * out_width)
        kernel_width = (kernel_w - 1) * dilation_x
        # What a kernel row moves by: input rows, or from one operand to the other.
        tap_row, row = dilation_y, dilation_y * source.pitch
        if len(layer.sources) == 2:
            tap_row, row = 0, self.bases[layer.sources[1]] - self.bases[layer.source]
        out_word, sub_channel = divmod(tile.channel, config.lanes)
        dot = layer.unit is Unit.ARRAY
        loops, loop_plane = 1, 0
        if dot:
            loops, loop_plane = -(-layer.weight.shape[1] // config.lanes), source.plane
        elif layer.unit is Unit.SUM:
            loops = layer.weight.shape[1]
        in_base = self.bases[layer.source] - top * source.pitch - left
        if not dot:
            in_base += out_word * source.plane
        self._emit(
            Compute(
                layer=tile.index,
                layer_end=int(tile.last),
                wait_load=loads,
                # Its first tile reads what the layers before have written.
                wait_compute=self.counts[Opcode.COMPUTE] if tile.channel == 0 else 0,
                wait_store=self.counts[Opcode.STORE],
                unit=layer.unit,
                pixels=pixels,
                chunks=tile.chunks,
                drain_cycles=pixels * tile.chunks,
                filter_groups=tile.filter_groups,
                channel_groups=loops,
                kernel_h=kernel_h,
                kernel_w=kernel_w,
                positions=out_height * out_width,
                out_width=out_width,
                in_base=in_base,
                pad=layer.pad,
                in_height=source.height,
                in_width=source.width,
                row=-top,
                column=-left,
                column_step=stride_x,
                row_step=stride_y,
                origin_wrap=stride_y * source.pitch - (out_width - 1) * stride_x,
                out_wrap=target.pitch - (out_width - 1),
                tap_column=dilation_x,
                tap_row=tap_row,
                tap_row_origin=row - kernel_width,
                tap_group_origin=loop_plane - (kernel_h - 1) * row - kernel_width,
                group_origin=0 if dot else source.plane,
                weight_base=weight_base,
                weight_step=int(not layer.shared_weight),
                param_base=param_base,
                param_step=int(not layer.shared_params),
                sub=sub_channel // config.post_lanes,
                out_base=self.bases[layer.target] + out_word * target.plane,
                out_plane=target.plane,
                low=layer.low,
                high=layer.high,
            )
        )


def _padded(params: ChannelParams, channels: slice, count: int) -> ChannelParams:
    """Some channels' parameters, followed by zeros up to ``count``."""
    arrays = []
    for values in (params.addend, params.shift, params.multiplier):
        padded = np.zeros(count, np.int64)
        chosen = values[channels][:count]
        padded[: len(chosen)] = chosen
        arrays.append(padded)
    return ChannelParams(*arrays)
