"""Processing elements: a dot product, step by step, by shifting or by multiplying."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.reduction import reduction
from hw.contract.timing import pe_latency
from hw.rtl.array.accumulation import Accumulating, offset_bits

__all__ = ["ProcessingElement", "Svpe", "Vpe"]


class ProcessingElement(Accumulating):
    """Multiplies lane by lane, sums the lanes in a tree and accumulates the steps of an output.

    One step per cycle, no backpressure. ``acc`` is valid ``self.latency`` cycles after a step with
    ``last`` and stays until the next output is complete. So one output drains while the next one
    accumulates. The accumulator wraps modulo ``2**acc_bits``; the result is exact if the final sum
    fits.

    The products are in the method ``_product``. :mod:`hw.rtl.ultrascale.elements` replaces it, as
    well as the additions, by explicit cells.

    Parameters
    ----------
    lanes : int
        Activations per step.
    act_bits : int
        Width of the signed activations.
    weight_bits : int
        Width n of the power-of-two weights.
    stored_bits : int
        Width of one stored weight.
    acc_bits : int
        Width of the signed accumulator.
    radix_bits : int
        A step with ``grow`` first multiplies the running sum by ``2**radix_bits``. So factors that
        are no power of two are applied digit by digit. 0: the element has no ``grow``.
    exact : bool
        A step may add what an inverted product lacks. There only with ``radix_bits`` and one lane.

    Members
    -------
    valid : ``In(1)``, this cycle carries a step
    first, last : ``In(1)``, the step is the first or last of its output; ``last`` is high only with
        ``valid``
    grow : ``In(1)``, there only if ``radix_bits`` is not 0
    whole : ``In(1)``, there only if ``exact``: the product lacks nothing; not in a ``first`` step
    act : ``In(data.ArrayLayout(signed(act_bits), lanes))``
    weight : ``In(data.ArrayLayout(stored_bits, lanes))``
    acc : ``Out(signed(acc_bits))``, registered
    """

    def __init__(
        self,
        *,
        lanes: int,
        act_bits: int,
        weight_bits: int,
        stored_bits: int,
        acc_bits: int,
        radix_bits: int = 0,
        exact: bool = False,
    ):
        self.lanes = lanes
        self.act_bits = act_bits
        self.weight_bits = weight_bits
        self.stored_bits = stored_bits
        self.acc_bits = acc_bits
        self.radix_bits = radix_bits
        self.exact = exact
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                **({"grow": In(1)} if radix_bits else {}),
                **({"whole": In(1)} if exact else {}),
                "act": In(data.ArrayLayout(signed(act_bits), lanes)),
                "weight": In(data.ArrayLayout(stored_bits, lanes)),
                "acc": Out(signed(acc_bits)),
                **self._more_ports,
            }
        )

    @property
    def latency(self) -> int:
        return pe_latency(self.lanes)

    @property
    def _more_ports(self) -> dict:
        """Members that a kind of element has beside those of all."""
        return {}

    @property
    def product_shape(self) -> Shape:
        """The shape of a product. If it is unsigned, half the range was added to the product."""
        raise NotImplementedError

    def _product(self, m: Module, lane: int, act: Value, weight: Value) -> Value:
        """The product of one lane in ``product_shape``."""
        raise NotImplementedError

    def build(self) -> Module:
        m = Module()
        plan = reduction(self.lanes, self.product_shape.width, self.acc_bits)
        products = []
        for lane in range(self.lanes):
            register = Signal(self.product_shape, name=f"product_{lane}")
            act, weight = self.act[lane], self.weight[lane]
            changed = register.eq(self._product(m, lane, act, weight))
            if self.lanes > 1:
                m.d.data += changed
            else:
                # A channel-wise unit sees the words of other units, too.
                with m.If(self.valid):
                    m.d.data += changed
            products.append(register)
        terms = self._added(m, plan, products)
        self._accumulated(m, terms, plan.exponent, len(plan.levels) + 1)
        return m


class Svpe(ProcessingElement):
    """The shift vector processing element: no multiplier.

    A stored weight is ``{sign, index}``. Index 0 stands for zero, index i for the magnitude
    ``2**(i - 1)``. A lane selects zero or the shifted activation. For a negative weight it inverts
    all bits, which is one less than negating. So ``acc`` lacks one for every negative weight of the
    output; :mod:`hw.compiler.constants` adds that constant to the bias. With 3-bit weights each bit
    of a product depends on three bits of the activation and on the weight: one six-input table.
    """

    @property
    def product_shape(self) -> Shape:
        # A single lane has no tree. Its product goes to the accumulator as it is.
        width = self.act_bits + (1 << (self.weight_bits - 1)) - 2
        return Shape(width, signed=self.lanes == 1)

    def _product(self, m, lane, act, weight):
        width, index, sign = self.product_shape.width, weight[:-1], weight[-1]
        shifted = Mux(index.any(), (act << index)[1 : width + 1], 0)
        product = shifted ^ sign.replicate(width)
        return product if self.product_shape.signed else offset_bits(product.as_signed())


class Vpe(ProcessingElement):
    """The baseline: each lane multiplies, with one DSP block.

    A stored weight is the weight itself in two's complement.
    """

    @property
    def product_shape(self) -> Shape:
        return signed(self.act_bits + self.stored_bits)

    def _product(self, m, lane, act, weight):
        return act * weight.as_signed()
