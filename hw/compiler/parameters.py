"""Lays out weights and params in the host's memory, and loads them ahead of use."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from hw.compiler.memory import Ring
from hw.compiler.stream import CommandStream
from hw.compiler.tiles import FilterTile, weight_words
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import MAX_FIELD, Load, Memory, Region
from hw.contract.words import pack_table, table_shape, word_beats

__all__ = ["LoadedTile", "ParameterLoader", "last_readers"]


@dataclass(frozen=True)
class LoadedTile:
    """Where a filter tile is on the chip, and how many loads must be complete before it is."""

    weight_base: int
    param_base: int
    loads: int


class ParameterLoader:
    """Gives filter tiles places in the weight memory, the param memory and the program.

    first : bytes of the region before them, which hold something else.
    """

    def __init__(self, config: AcceleratorConfig, stream: CommandStream, first: int):
        self._config = config
        self._stream = stream
        self._weights = Ring(config.weight_depth)
        self._params = Ring(config.param_depth)
        #: By key, the same for all images: the tile and the offsets of its words in the region.
        self._tiles: dict[tuple[str, int, int], tuple[FilterTile, int, int]] = {}
        #: Table -> offset in the region. And the table that is on the chip: after how many compute
        #: commands its place is free, and how many loads have brought it.
        self._tables: dict[bytes, int] = {}
        self._table: bytes | None = None
        self._table_free = self._table_loads = 0
        self._bytes = first

    def _words(self, tile: FilterTile) -> tuple[int, int]:
        """Words of a tile's weights and of its params."""
        layer = tile.layer
        weights = weight_words(self._config, layer) * (
            1 if layer.shared_weight else tile.filter_groups
        )
        params = tile.filter_groups * tile.chunks
        if layer.shared_params:
            params = -(-len(layer.params.addend) // self._config.post_lanes)
        return weights, params

    def fit(self, tiles: list[FilterTile]) -> bool:
        """Whether tiles fit in half of the memories, so that they may stay while others come."""
        distinct = {tile.key: tile for tile in tiles}.values()
        weights, params = (sum(words) for words in zip(*map(self._words, distinct), strict=True))
        config = self._config
        return weights <= config.weight_depth // 2 and params <= config.param_depth // 2

    def load(self, index: int, tile: FilterTile, needed: int, reader: int) -> LoadedTile:
        """Loads a tile of layer ``index`` ahead of use.

        ``needed`` is the number of the compute command that reads it first; after ``reader``
        commands its place is free.
        """
        key = tile.key
        sizes = self._words(tile)
        memories = (Memory.WEIGHT, Memory.PARAM)
        if key not in self._tiles:
            offsets = []
            for memory, words in zip(memories, sizes, strict=True):
                offsets.append(self._bytes)
                self._bytes += words * self._word_bytes(memory)
            self._tiles[key] = (tile, *offsets)
        bases = []
        for memory, ring, words, offset in zip(
            memories,
            (self._weights, self._params),
            sizes,
            self._tiles[key][1:],
            strict=True,
        ):
            if not words:
                bases.append(0)
                continue
            base, free_after = ring.allocate(words, reader)
            bases.append(base)
            most = MAX_FIELD // word_beats(self._config, memory)
            for done in range(0, words, most):
                count = min(most, words - done)
                self._stream.load(
                    Load(
                        layer=index,
                        wait_compute=free_after,
                        region=Region.PARAMETERS,
                        memory=memory,
                        offset=(offset + done * self._word_bytes(memory)) // self._config.axi_ports,
                        base=base + done,
                        words=count,
                        rows=1,
                        beats=count * word_beats(self._config, memory),
                    ),
                    needed,
                )
        return LoadedTile(*bases, len(self._stream.loads))

    def load_table(self, index: int, table: np.ndarray, needed: int, reader: int) -> int:
        """Loads the table of layer ``index`` unless it is on the chip.

        Returns how many loads must be complete before it is there. The chip has room for one table,
        so it is loaded when no earlier layer needs another one. ``needed`` and ``reader`` are as
        for :meth:`load`.
        """
        config = self._config
        packed = pack_table(config, table).tobytes()
        if packed not in self._tables:
            self._tables[packed] = self._bytes
            self._bytes += len(packed)
        if packed != self._table:
            words = table_shape(config).words
            self._stream.load(
                Load(
                    layer=index,
                    wait_compute=self._table_free,
                    region=Region.PARAMETERS,
                    memory=Memory.TABLE,
                    offset=self._tables[packed] // config.axi_ports,
                    words=words,
                    rows=1,
                    beats=words * word_beats(config, Memory.TABLE),
                ),
                needed,
            )
            self._table_loads = len(self._stream.loads)
        self._table, self._table_free = packed, reader
        return self._table_loads

    def _word_bytes(self, memory: Memory) -> int:
        return word_beats(self._config, memory) * self._config.axi_beat_bits // 8

    def packed(self) -> bytes:
        packed = bytearray(self._bytes)
        for tile, *offsets in self._tiles.values():
            for words, offset in zip(tile.pack(self._config), offsets, strict=True):
                packed[offset : offset + words.size] = words.tobytes()
        for table, offset in self._tables.items():
            packed[offset : offset + len(table)] = table
        return bytes(packed)


def last_readers(keys: list[Hashable], kept: bool) -> dict[int, int]:
    """The commands before which a tile of weights is loaded -> the last one that reads it then.

    keys : of the tile that each command reads.
    kept : whether tiles stay until their last command. Else each stays while commands that follow
        one another read it: those of several images, for example.
    """
    readers: dict[int, int] = {}
    loaded: dict[Hashable, int] = {}
    for number, key in enumerate(keys):
        if not kept and number and keys[number - 1] != key:
            loaded.clear()
        readers[loaded.setdefault(key, number)] = number
    return readers
