"""Ports of the on-chip memories, seen from the engine that uses them."""

from amaranth.hdl import Cat, ShapeLike, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.structure import activation_address_bits

__all__ = [
    "ActDrainSignature",
    "ActLoadSignature",
    "ActReadSignature",
    "ActStoreSignature",
    "WideReadSignature",
    "WideWriteSignature",
    "bank_number",
    "word_layout",
]

#: Bits of an address of the weight and param memories; the memory drops what it does not need.
_WIDE_ADDRESS_BITS = 16


def word_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A word of the activation memory: a stored code for each lane."""
    return data.ArrayLayout(config.act_bits, config.lanes)


def bank_number(config: AcceleratorConfig, address: Value) -> Value:
    """The bank of a word of the activation memory, as :func:`hw.contract.banks.bank_of`."""
    bits = (config.banks - 1).bit_length()
    return Cat(address[0] ^ address[bits], address[1:bits])


class ActReadSignature(wiring.Signature):
    """Reads for the array: up to ``config.read_words`` words per cycle.

    Members
    -------
    valid : ``Out(words)``
    address : ``Out(data.ArrayLayout(address bits, words))``
    padded : ``Out(words)``, one cycle after the address: all lanes get the padding code
    pad_lowest : ``Out(1)``, beside the address: the padding code is the lowest one, else 0
    """

    def __init__(self, config: AcceleratorConfig):
        words = config.read_words
        super().__init__({
            "valid": Out(words),
            "address": Out(data.ArrayLayout(activation_address_bits(config), words)),
            "padded": Out(words),
            "pad_lowest": Out(1),
        })  # fmt: skip


class ActDrainSignature(wiring.Signature):
    """Writes of the drain: a chunk in each of up to ``post_positions`` words per cycle.

    Members
    -------
    valid : ``Out(post_positions)``
    address : ``Out(data.ArrayLayout(address bits, post_positions))``
    sub : ``Out``, number of the chunk within each of these words
    data : ``Out``, two cycles after the address: ``post_lanes`` stored codes for each position
    """

    def __init__(self, config: AcceleratorConfig):
        chunk = data.ArrayLayout(config.act_bits, config.post_lanes)
        super().__init__({
            "valid": Out(config.post_positions),
            "address": Out(
                data.ArrayLayout(activation_address_bits(config), config.post_positions)
            ),
            "sub": Out(range(max(2, config.lanes // config.post_lanes))),
            "data": Out(data.ArrayLayout(chunk, config.post_positions)),
        })  # fmt: skip


class ActLoadSignature(wiring.Signature):
    """Writes of a transfer: one word in each cycle with ``valid`` and ``ready``.

    Members
    -------
    valid : ``Out(1)``, address : ``Out``, data : ``Out(word_layout(config))``
    bank : ``Out(range(banks))``, that of the address
    ready : ``In(1)``, found from ``bank`` alone
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "valid": Out(1),
            "address": Out(activation_address_bits(config)),
            "bank": Out(range(max(2, config.banks))),
            "data": Out(word_layout(config)),
            "ready": In(1),
        })  # fmt: skip


class ActStoreSignature(wiring.Signature):
    """Reads of a transfer: one word in each cycle with ``valid`` and ``ready``.

    Members
    -------
    valid : ``Out(1)``, address : ``Out``
    ready : ``In(1)``
    data : ``In(word_layout(config))``, later by the memory's latency
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "valid": Out(1),
            "address": Out(activation_address_bits(config)),
            "ready": In(1),
            "data": In(word_layout(config)),
        })  # fmt: skip


class WideReadSignature(wiring.Signature):
    """Reads of weights or params, one per cycle.

    Members
    -------
    address : ``Out(16)``
    data : ``In(shape)``, two cycles later
    """

    def __init__(self, shape: ShapeLike):
        super().__init__({"address": Out(_WIDE_ADDRESS_BITS), "data": In(shape)})


class WideWriteSignature(wiring.Signature):
    """Writes of weights or params, one in each cycle with ``enable``.

    Members
    -------
    enable : ``Out(1)``, address : ``Out(16)``, data : ``Out(shape)``
    """

    def __init__(self, shape: ShapeLike):
        super().__init__({"enable": Out(1), "address": Out(_WIDE_ADDRESS_BITS), "data": Out(shape)})
