"""Shift vector processing element: a multiplier-free dot product, step by step."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Svpe", "Vpe", "pe_latency"]


def pe_latency(lanes: int) -> int:
    """Cycles from a last step to its sum: products, levels of a binary tree, accumulator."""
    return (lanes - 1).bit_length() + 2


class _ProcessingElement(wiring.Component):
    """Multiplies lane by lane, sums the lanes in a tree and accumulates the steps of an output.

    One step per cycle, no backpressure. Latency ``self.latency`` cycles from a step with ``last``
    to ``acc_valid``; ``acc`` then holds until the next output is complete, so draining overlaps
    with the next accumulation. Each tree level grows by one bit; the accumulator wraps modulo
    ``2**acc_bits``, which is exact whenever the final sum fits.

    Parameters
    ----------
    lanes : int
        Activations per step.
    act_bits : int
        Width of the signed activations.
    weight_bits : int
        Width n of the power-of-two weights.
    code_bits : int
        Width of one stored weight.
    acc_bits : int
        Width of the signed accumulator.

    Members
    -------
    valid : ``In(1)``, this cycle carries a step
    first, last : ``In(1)``, the step is the first or last of its output
    act : ``In(lanes * act_bits)``, lane 0 in the low bits
    weight : ``In(lanes * code_bits)``, lane 0 in the low bits
    acc : ``Out(signed(acc_bits))``, registered
    acc_valid : ``Out(1)``, ``acc`` changed in this cycle
    """

    def __init__(
        self, *, lanes: int, act_bits: int, weight_bits: int, code_bits: int, acc_bits: int
    ):
        self.lanes = lanes
        self.act_bits = act_bits
        self.weight_bits = weight_bits
        self.code_bits = code_bits
        self.acc_bits = acc_bits
        self.latency = pe_latency(lanes)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "act": In(lanes * act_bits),
                "weight": In(lanes * code_bits),
                "acc": Out(signed(acc_bits)),
                "acc_valid": Out(1),
            }
        )

    def _product(self, act, code):
        """The signed product of one lane, combinational."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        terms = []
        for lane in range(self.lanes):
            act = self.act.word_select(lane, self.act_bits).as_signed()
            product = self._product(act, self.weight.word_select(lane, self.code_bits))
            register = Signal(signed(len(product)), name=f"product_{lane}", reset_less=True)
            m.d.sync += register.eq(product)
            terms.append(register)
        level = 0
        while len(terms) > 1:
            sums = []
            for index in range(0, len(terms) - 1, 2):
                total = terms[index] + terms[index + 1]
                register = Signal(
                    signed(len(total)), name=f"sum_{level}_{index // 2}", reset_less=True
                )
                m.d.sync += register.eq(total)
                sums.append(register)
            if len(terms) % 2:
                odd = terms[-1]
                register = Signal(
                    odd.shape(), name=f"sum_{level}_{len(terms) // 2}", reset_less=True
                )
                m.d.sync += register.eq(odd)
                sums.append(register)
            terms = sums
            level += 1

        # The step's flags travel along with its sum.
        stages = level + 1
        valid = Signal(stages)
        first = Signal(stages)
        last = Signal(stages)
        m.d.sync += [
            valid.eq(Cat(self.valid, valid)),
            first.eq(Cat(self.first, first)),
            last.eq(Cat(self.last, last)),
        ]

        running = Signal(signed(self.acc_bits), reset_less=True)
        total = Signal(signed(self.acc_bits))
        m.d.comb += total.eq(terms[0] + Mux(first[-1], 0, running))
        m.d.sync += self.acc_valid.eq(valid[-1] & last[-1])
        with m.If(valid[-1]):
            m.d.sync += running.eq(total)
            with m.If(last[-1]):
                m.d.sync += self.acc.eq(total)
        return m


class Svpe(_ProcessingElement):
    """Lanes select zero or a shifted activation and invert it for negative weights.

    A code is ``{sign, index}``: index 0 is zero, index i the magnitude ``2**(i - 1)``. A negative
    product is the bitwise inversion, so ``acc`` is short by one for every negative weight of the
    output: a constant of the filter that :mod:`hw.fold` adds to the bias. With 3-bit codes each
    product bit depends on three activation bits and the code: one six-input LUT.
    """

    @property
    def module_name(self) -> str:
        return f"nbqnn_svpe_l{self.lanes}_a{self.act_bits}_w{self.weight_bits}_s{self.acc_bits}"

    def _product(self, act, code):
        width = self.act_bits + (1 << (self.weight_bits - 1)) - 2
        index = code[:-1]
        shifted = Const(0, signed(width))
        for i in range(1, 1 << (self.weight_bits - 1)):
            shifted = Mux(index == i, act << (i - 1), shifted)
        return (shifted[:width] ^ code[-1].replicate(width)).as_signed()


class Vpe(_ProcessingElement):
    """Lanes multiply: the baseline with one multiplier (a DSP block) per lane.

    A code is the weight itself in two's complement.
    """

    @property
    def module_name(self) -> str:
        return f"nbqnn_vpe_l{self.lanes}_a{self.act_bits}_w{self.code_bits}_s{self.acc_bits}"

    def _product(self, act, code):
        return act * code.as_signed()
