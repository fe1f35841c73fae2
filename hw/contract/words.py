"""How tensors, weights and params lie in the host's memory and on the chip."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hw.contract.config import MOST_TABLE_BITS, AcceleratorConfig
from hw.contract.isa import Memory
from nbqnn_train.graph import TensorType, packing

__all__ = [
    "MULTIPLIER_BITS",
    "PRE_SHIFT",
    "SHIFT_BITS",
    "ChannelParams",
    "TableShape",
    "TensorLayout",
    "addend_bits",
    "memories",
    "pack_params",
    "pack_table",
    "pack_vector_weights",
    "pack_weights",
    "param_fields",
    "stored_offset",
    "stored_weights",
    "table_shape",
    "table_word_bits",
    "word_beats",
    "word_bits",
]

#: In ``shift`` mode accumulators are shifted left by so many bits, which is wiring. A multiplier up
#: to ``2**PRE_SHIFT`` then becomes a smaller shift to the right.
PRE_SHIFT = 4
#: Bits of a channel's shift to the right, and of its multiplier in ``scale`` mode.
SHIFT_BITS = 6
MULTIPLIER_BITS = 16
#: Most words of a table: as many as a look-up table of the chip holds when it is a memory.
_TABLE_WORDS = 64


@dataclass(frozen=True)
class ChannelParams:
    """Params of the requantizer: addend, shift and multiplier (1 if unused) of each channel.

    The arrays are int64 and of one length.
    """

    addend: np.ndarray
    shift: np.ndarray
    multiplier: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TensorLayout:
    """How an activation tensor ``(C, H, W)`` lies: a word has ``lanes`` channels of one position.

    On the chip, channel group g, row y, column x is word ``(g * H + y) * pitch + x``. In the host's
    memory rows follow each other without gaps, and every word starts on an AXI beat. A stored code
    is the code less ``offset``.
    """

    channels: int
    height: int
    width: int
    pitch: int
    offset: int

    def groups(self, config: AcceleratorConfig) -> int:
        return -(-self.channels // config.lanes)

    @property
    def plane(self) -> int:
        """Words from one channel group to the next."""
        return self.height * self.pitch

    def words(self, config: AcceleratorConfig) -> int:
        return self.groups(config) * self.plane

    def row_words(self, config: AcceleratorConfig) -> int:
        """Words of a row, of all channel groups, in the host's memory."""
        return self.groups(config) * self.width

    def host_bytes(self, config: AcceleratorConfig) -> int:
        words = self.groups(config) * self.height * self.width
        return words * _word_bytes(config, Memory.ACT)

    def pack(self, config: AcceleratorConfig, codes: np.ndarray) -> np.ndarray:
        """Packs codes (C, H, W) into the bytes that a load reads; missing channels hold code 0."""
        groups, lanes = self.groups(config), config.lanes
        stored = np.full((groups * lanes, self.height, self.width), -self.offset, np.int64)
        stored[: self.channels] = codes - self.offset
        words = stored.reshape(groups, lanes, self.height, self.width).transpose(0, 2, 3, 1)
        return _pack_words(
            words.reshape(-1, lanes), config.act_bits, _word_bytes(config, Memory.ACT)
        )

    def unpack(self, config: AcceleratorConfig, image: np.ndarray) -> np.ndarray:
        """The codes (C, H, W), int64, from the bytes that a store has written."""
        groups, lanes, bits = self.groups(config), config.lanes, config.act_bits
        word_bytes = _word_bytes(config, Memory.ACT)
        unpacked = np.unpackbits(
            image.reshape(-1, word_bytes), axis=1, bitorder="little", count=lanes * bits
        )
        weights = 1 << np.arange(bits, dtype=np.int64)
        weights[-1] = -weights[-1]
        codes = unpacked.reshape(-1, lanes, bits) @ weights
        codes = codes.reshape(groups, self.height, self.width, lanes).transpose(0, 3, 1, 2)
        return codes.reshape(groups * lanes, self.height, self.width)[: self.channels] + self.offset


class TableShape(NamedTuple):
    """A table's words, and codes in a word. Word w has those for stored codes w, w + words, ...

    A table of knots has two numbers in a word: a knot and, of one bit more, the rise to the next.
    """

    words: int
    codes: int


def table_shape(config: AcceleratorConfig) -> TableShape:
    """The words of a table. Stored codes are read as unsigned numbers here."""
    if config.act_bits > MOST_TABLE_BITS:
        return TableShape(1 << MOST_TABLE_BITS, 2)
    words = min(_TABLE_WORDS, 1 << config.act_bits)
    return TableShape(words, (1 << config.act_bits) // words)


def table_word_bits(config: AcceleratorConfig) -> int:
    """Bits of a word of a table."""
    rise = config.act_bits > MOST_TABLE_BITS
    return table_shape(config).codes * config.act_bits + rise


def memories(config: AcceleratorConfig) -> tuple[Memory, ...]:
    """The on-chip memories that the configuration has."""
    return tuple(m for m in Memory if m is not Memory.TABLE or config.tables)


def stored_offset(config: AcceleratorConfig, type_: TensorType) -> int:
    """The number that is subtracted from a code of this type to give its stored code."""
    half = 1 << (config.act_bits - 1)
    return half if type_.high >= half else 0


def addend_bits(config: AcceleratorConfig) -> int:
    """Bits of the signed addend: one more than the scaled accumulator, so that it can exceed it."""
    growth = PRE_SHIFT if config.requant == "shift" else MULTIPLIER_BITS
    return config.acc_bits + growth + 1


def param_fields(config: AcceleratorConfig) -> dict[str, int]:
    """Bits of each param of one channel, from the low bits upwards; ``addend`` is signed."""
    fields = {"addend": addend_bits(config), "shift": SHIFT_BITS}
    if config.requant == "scale":
        fields["multiplier"] = MULTIPLIER_BITS
    return fields


def word_beats(config: AcceleratorConfig, memory: Memory) -> int:
    """AXI beats of one word of an on-chip memory; every word starts on a beat."""
    return -(-word_bits(config, memory) // config.axi_beat_bits)


def word_bits(config: AcceleratorConfig, memory: Memory) -> int:
    """Bits of a word of that memory."""
    return {
        Memory.ACT: config.act_word_bits,
        Memory.WEIGHT: config.weight_word_bits,
        Memory.PARAM: config.post_lanes * sum(param_fields(config).values()),
        Memory.TABLE: table_word_bits(config),
    }[memory]


def stored_weights(config: AcceleratorConfig, weight: np.ndarray) -> np.ndarray:
    """The stored codes, unsigned, of weights that are 0 or signed powers of two.

    Lanes that shift take sign and index, as the graph's file has them. Multipliers take factors.
    """
    if config.pe == "multiply":
        return weight & ((1 << config.stored_weight_bits) - 1)
    return packing.stored_weights(weight, config.weight_bits).astype(np.int64)


def pack_weights(config: AcceleratorConfig, weight: np.ndarray) -> np.ndarray:
    """Weights (Cout, Cin, KH, KW) as bytes, one memory word for each step of the sequencer.

    Words are in the order filter group, channel group, kernel row, kernel column; missing filters
    and channels are zero. Returns uint8 (words, bytes per word).
    """
    filters, lanes = config.filters, config.lanes
    outputs, inputs, kernel_h, kernel_w = weight.shape
    filter_groups, groups = -(-outputs // filters), -(-inputs // lanes)
    padded = np.zeros((filter_groups * filters, groups * lanes, kernel_h, kernel_w), np.int64)
    padded[:outputs, :inputs] = stored_weights(config, weight)
    words = padded.reshape(filter_groups, filters, groups, lanes, kernel_h, kernel_w)
    words = words.transpose(0, 2, 4, 5, 1, 3).reshape(-1, filters * lanes)
    word_bytes = _word_bytes(config, Memory.WEIGHT)
    return _pack_words(words, config.stored_weight_bits, word_bytes).reshape(-1, word_bytes)


def pack_vector_weights(config: AcceleratorConfig, weight: np.ndarray, taps: int = 1) -> np.ndarray:
    """Channel-wise weights (C, T, KH, KW) as bytes, one memory word for each step.

    Words are in the order channel group, T, kernel row, kernel column; a word holds one weight per
    lane in its low bits. (1, T, KH, KW) stands for a channel group whose lanes are all alike. With
    several ``taps`` a word has those of as many columns, one after the other; missing ones are 0.
    """
    lanes = config.lanes
    channels, *steps = weight.shape
    groups = -(-channels // lanes)
    passes, rows, columns = steps
    padded = np.zeros((groups * lanes, passes, rows, -(-columns // taps) * taps), np.int64)
    padded[: lanes if channels == 1 else channels, ..., :columns] = stored_weights(config, weight)
    words = padded.reshape(groups, lanes, -1, taps).transpose(0, 2, 3, 1)
    words = words.reshape(-1, taps * lanes)
    word_bytes = _word_bytes(config, Memory.WEIGHT)
    return _pack_words(words, config.stored_weight_bits, word_bytes).reshape(-1, word_bytes)


def pack_params(config: AcceleratorConfig, params: ChannelParams) -> np.ndarray:
    """Params of all channels, ``post_lanes`` to a word; uint8 (words, bytes per word)."""
    lanes = config.post_lanes
    channels = len(params.addend)
    words = -(-channels // lanes)
    fields = param_fields(config).items()
    bits = np.concatenate([_bits(getattr(params, name), width) for name, width in fields], axis=1)
    padded = np.zeros((words * lanes, bits.shape[1]), np.uint8)
    padded[:channels] = bits
    return _to_bytes(padded.reshape(words, -1), _word_bytes(config, Memory.PARAM))


def pack_table(config: AcceleratorConfig, table: np.ndarray) -> np.ndarray:
    """Packs a table; uint8 (words, word bytes).

    table : the stored code for each stored code, unsigned. Of knots: (256, 2), a stored code and
        the rise to the next for each value of the 8 bits that choose a knot.
    """
    word_bytes = _word_bytes(config, Memory.TABLE)
    if config.act_bits > MOST_TABLE_BITS:
        knots, rises = table.T
        bits = [_bits(knots, config.act_bits), _bits(rises, config.act_bits + 1)]
        return _to_bytes(np.concatenate(bits, axis=1), word_bytes)
    words = table.reshape(table_shape(config)[::-1]).T
    return _pack_words(words, config.act_bits, word_bytes).reshape(-1, word_bytes)


def _word_bytes(config: AcceleratorConfig, memory: Memory) -> int:
    return word_beats(config, memory) * config.axi_beat_bits // 8


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """int64 (n,) -> uint8 (n, width), lowest bit first, two's complement."""
    return ((values[..., None] >> np.arange(width)) & 1).astype(np.uint8)


def _to_bytes(bits: np.ndarray, word_bytes: int) -> np.ndarray:
    packed = np.packbits(bits, axis=1, bitorder="little")
    words = np.zeros((len(bits), word_bytes), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words


def _pack_words(words: np.ndarray, width: int, word_bytes: int) -> np.ndarray:
    """Integer words (n, fields) with fields of ``width`` bits -> flat bytes."""
    return _to_bytes(_bits(words, width).reshape(len(words), -1), word_bytes).reshape(-1)
