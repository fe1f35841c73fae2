"""Accumulators to activations: scale, shift with rounding, saturate."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.config import AcceleratorConfig

__all__ = ["PRE_SHIFT", "Requantizer", "param_layout"]

#: In ``shift`` mode accumulators are scaled up by this many bits, which is wiring, so that
#: multipliers up to ``2**PRE_SHIFT`` become a smaller shift to the right.
PRE_SHIFT = 4
_MULTIPLIER_BITS = 16
_SHIFT_BITS = 6


def addend_bits(config: AcceleratorConfig) -> int:
    """Bits of the signed addend: one more than the scaled accumulator, to outweigh it."""
    growth = PRE_SHIFT if config.requant == "shift" else _MULTIPLIER_BITS
    return config.acc_bits + growth + 1


def param_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Parameters of one channel; ``addend`` carries bias, rounding and all folded constants."""
    fields = {"addend": signed(addend_bits(config)), "shift": _SHIFT_BITS}
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
    low, high : ``In(signed(act_bits))``, ``self.limits_after`` cycles after the accumulator
    code : ``Out(signed(act_bits))``, registered
    """

    #: Multiply (scale mode: in the DSP's registers), add, shift, compare, select.
    latency = 5
    #: Where they are compared.
    limits_after = 3

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
        shift_bits = min(_SHIFT_BITS, width.bit_length())
        shift = [
            Signal(bits, name=f"shift_{stage}", reset_less=True)
            for stage, bits in enumerate((_SHIFT_BITS, shift_bits))
        ]
        if c.requant == "shift":
            m.d.sync += scaled.eq(self.acc << PRE_SHIFT)
        else:
            m.d.sync += scaled.eq(self.acc * self.param.multiplier)
        m.d.sync += [addend.eq(self.param.addend), shift[0].eq(self.param.shift)]

        total = Signal(signed(width + 1), reset_less=True)
        # Only the sign is left of a total shifted by its width or more.
        beyond = shift[0][shift_bits:].any()
        m.d.sync += [
            total.eq(scaled + addend),
            shift[1].eq(shift[0][:shift_bits] | beyond.replicate(shift_bits)),
        ]

        value = Signal(signed(c.act_bits), reset_less=True)
        shifted, excess = self._shifted(m, total, shift[1])
        # Which of the parts above the value have a bit that differs from the sign.
        excesses = Signal(len(excess), reset_less=True)
        outside, negative = Signal(), Signal(reset_less=True)
        m.d.sync += [value.eq(shifted), excesses.eq(Cat(excess)), negative.eq(total[-1])]
        m.d.comb += outside.eq(excesses.any())

        below, above = Signal(reset_less=True), Signal(reset_less=True)
        kept = Signal(signed(c.act_bits), reset_less=True)
        low, high = Signal.like(self.low, reset_less=True), Signal.like(self.high, reset_less=True)
        m.d.sync += [
            kept.eq(value),
            low.eq(self.low),
            high.eq(self.high),
            below.eq(Mux(outside, negative, value < self.low)),
            above.eq(Mux(outside, ~negative, value > self.high)),
        ]
        m.d.sync += self.code.eq(Mux(below, low, Mux(above, high, kept)))
        return m

    def _shifted(self, m: Module, total: Value, amount: Value) -> tuple[Value, list[Value]]:
        """The low ``act_bits`` bits of ``total >> amount``, and conditions for it to have more.

        Only bits that can still reach the output are shifted, two bits of the amount at a time;
        of those above, all that matters is whether one differs from the sign.
        """
        sign = total[-1]
        value, excess = total, []
        for high in range(len(amount) - 1, -1, -2):
            low = max(0, high - 1)
            steps = amount[low : high + 1]
            width = self.config.act_bits + (1 << low) - 1
            moved = Signal(signed(width), name=f"moved_{low}")
            m.d.comb += moved.eq(value >> Cat(Const(0, low), steps))
            for i in range(1 << len(steps)):
                # Above the part that is kept, unless the amount is larger than this.
                part = value[width + (i << low) : width + (i + 1 << low)]
                if len(part):
                    stays = Const(1) if i + 1 == 1 << len(steps) else steps <= i
                    excess.append((part != sign.replicate(len(part))) & stays)
            value = moved
        return value, [*excess, value[-1] != sign]
