"""Accumulators to activations: scale, shift with rounding, saturate."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import AcceleratorConfig

__all__ = ["PRE_SHIFT", "Requantizer", "param_layout"]

#: In ``shift`` mode accumulators are scaled up by this many bits, which is wiring, so that
#: multipliers up to ``2**PRE_SHIFT`` become a smaller shift to the right.
PRE_SHIFT = 4
_MULTIPLIER_BITS = 16


def addend_bits(config: AcceleratorConfig) -> int:
    """Bits of the signed addend: one more than the scaled accumulator, to outweigh it."""
    growth = PRE_SHIFT if config.requant == "shift" else _MULTIPLIER_BITS
    return config.acc_bits + growth + 1


def param_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Parameters of one channel; ``addend`` carries bias, rounding and all folded constants."""
    fields = {"addend": signed(addend_bits(config)), "shift": 6}
    if config.requant == "scale":
        fields["multiplier"] = _MULTIPLIER_BITS
    return data.StructLayout(fields)


class Requantizer(wiring.Component):
    """``code = clip((acc * scale + addend) >> shift, low, high)``, one channel.

    ``scale`` is ``2**PRE_SHIFT`` in shift mode and the channel's multiplier in scale mode. With the
    addend that :mod:`hw.fold` gives, this is :class:`nbqnn_train.graph.nodes.Requantize` to the
    bit. One accumulator per cycle, latency ``self.latency`` cycles, no backpressure; the sum has
    one bit more than its operands and cannot overflow.

    Members
    -------
    acc : ``In(signed(acc_bits))``
    param : ``In(param_layout(config))``
    low, high : ``In(signed(act_bits))``, constant while a layer runs
    code : ``Out(signed(act_bits))``, registered
    """

    #: Multiply (scale mode: in the DSP's registers), add, shift, saturate.
    latency = 4

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "acc": In(signed(config.acc_bits)),
            "param": In(param_layout(config)),
            "low": In(signed(config.act_bits)),
            "high": In(signed(config.act_bits)),
            "code": Out(signed(config.act_bits)),
        })  # fmt: skip

    @property
    def module_name(self) -> str:
        c = self.config
        return f"nbqnn_requantizer_{c.requant}_s{c.acc_bits}_a{c.act_bits}"

    def elaborate(self, platform):
        m = Module()
        c = self.config
        width = addend_bits(c)
        scaled = Signal(signed(width), reset_less=True)
        addend = Signal(signed(width), reset_less=True)
        shift = [Signal(6, name=f"shift_{stage}", reset_less=True) for stage in range(2)]
        if c.requant == "shift":
            m.d.sync += scaled.eq(self.acc << PRE_SHIFT)
        else:
            m.d.sync += scaled.eq(self.acc * self.param.multiplier)
        m.d.sync += [addend.eq(self.param.addend), shift[0].eq(self.param.shift)]

        total = Signal(signed(width + 1), reset_less=True)
        m.d.sync += [total.eq(scaled + addend), shift[1].eq(shift[0])]

        # Everything above the output's range only matters as "too large" or "too small".
        shifted = Signal(signed(width + 1), reset_less=True)
        m.d.sync += shifted.eq(total >> shift[1])

        with m.If(shifted < self.low):
            m.d.sync += self.code.eq(self.low)
        with m.Elif(shifted > self.high):
            m.d.sync += self.code.eq(self.high)
        with m.Else():
            m.d.sync += self.code.eq(shifted)
        return m
