"""Processing elements: a dot product, step by step, by shifting or by multiplying."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.contract.reduction import Reduction, reduction
from hw.contract.timing import pe_latency
from hw.rtl.component import Component

__all__ = [
    "ProcessingElement",
    "Svpe",
    "Vpe",
    "offset_bits",
]


def offset_bits(term: Value) -> Value:
    """A signed term plus half its range, which is unsigned. An unsigned term stays as it is."""
    return Cat(term[:-1], ~term[-1]) if term.shape().signed else term


class ProcessingElement(Component):
    """Multiplies lane by lane, sums the lanes in a tree and accumulates the steps of an output.

    One step per cycle, no backpressure. ``acc`` is valid ``self.latency`` cycles after a step with
    ``last`` and stays until the next output is complete. So one output drains while the next one
    accumulates. The accumulator wraps modulo ``2**acc_bits``; the result is exact if the final sum
    fits.

    The logic between the registers is in the methods ``_product``, ``_sum`` and ``_accumulate``.
    :mod:`hw.rtl.ultrascale.elements` replaces them by explicit cells.

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
        self.latency = pe_latency(lanes)
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
            }
        )

    @property
    def product_shape(self) -> Shape:
        """The shape of a product. If it is unsigned, half the range was added to the product."""
        raise NotImplementedError

    def _product(self, m: Module, lane: int, act: Value, weight: Value) -> Value:
        """The product of one lane in ``product_shape``."""
        raise NotImplementedError

    def _sum(self, m: Module, name: str, terms: list[Value], width: int) -> Value:
        """The sum of two or three terms; to signed ones half their range is added."""
        return sum(map(offset_bits, terms))[:width]

    def _accumulate(
        self,
        m: Module,
        running: Value,
        first: Value,
        terms: list[Value],
        exponent: int,
    ) -> Value:
        """``running`` (0 at the first step) plus the last terms: one signed term, or two.

        If there are two, half their range is added to signed ones and ``2**exponent`` is subtracted
        from the sum. The second term has at most ``exponent`` bits, so the subtraction is a sign
        bit above it.
        """
        if len(terms) == 2:
            wide, narrow = map(offset_bits, terms)
            above = Const(1 << (exponent - len(narrow)), exponent - len(narrow) + 1)
            terms = [wide, Cat(narrow, above).as_signed()]
        return Mux(first, 0, running) + sum(terms)

    def build(self) -> Module:
        m = Module()
        plan = reduction(self.lanes, self.product_shape.width, self.acc_bits)
        terms = self._reduced(m, plan)
        # The step's flags travel along with its sum. The reset keeps tools from making them shift
        # registers in tables: that would take three tables for each element.
        stages = len(plan.levels) + 1
        valid = Signal(stages, name="valid_stages")
        first = Signal(stages, name="first_stages")
        last = Signal(stages, name="last_stages")
        m.d.sync += [
            valid.eq(Cat(self.valid, valid)),
            first.eq(Cat(self.first, first)),
            last.eq(Cat(self.last, last)),
        ]

        running = Signal(signed(self.acc_bits))
        before = running
        if self.radix_bits:
            grow = Signal(stages, name="grow_stages")
            m.d.sync += grow.eq(Cat(self.grow, grow))
            grown = (running << self.radix_bits)[: self.acc_bits].as_signed()
            before = Mux(grow[-1], grown, running)
        total = Signal(signed(self.acc_bits))
        terms = sorted(terms, key=len, reverse=True)
        if self.exact:
            # In a bit below all others, so that one addition takes it.
            inverted, whole = Signal(), Signal()
            m.d.data += [inverted.eq(self.weight[0][-1]), whole.eq(self.whole)]
            before = Cat(1, before).as_signed()
            terms = [Cat(inverted & whole, *terms).as_signed()]
        summed = self._accumulate(m, before, first[-1], terms, plan.exponent)
        m.d.comb += total.eq(summed[1:] if self.exact else summed)
        with m.If(valid[-1]):
            m.d.data += running.eq(total)
        with m.If(last[-1]):
            m.d.data += self.acc.eq(total)
        return m

    def _reduced(self, m: Module, plan: Reduction) -> list[Value]:
        """The lanes' products, added level by level until the accumulator's terms are left."""
        terms = []
        for lane in range(self.lanes):
            register = Signal(self.product_shape, name=f"product_{lane}")
            act, weight = self.act[lane], self.weight[lane]
            m.d.data += register.eq(self._product(m, lane, act, weight))
            terms.append(register)
        if plan.constant:
            terms.append(Const(plan.constant))
        for level, (groups, widths) in enumerate(zip(plan.levels, plan.widths, strict=True)):
            sums = []
            for index, (group, width) in enumerate(zip(groups, widths, strict=True)):
                added = [terms[term] for term in group]
                if len(added) == 1 and isinstance(added[0], Const):
                    sums += added
                    continue
                name = f"sum_{level}_{index}"
                shape = added[0].shape() if len(added) == 1 else width
                register = Signal(shape, name=name)
                total = added[0]
                if len(added) > 1:
                    total = self._sum(m, name, added, width)
                m.d.data += register.eq(total)
                sums.append(register)
            terms = sums
        return terms


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
        return product if self.lanes == 1 else offset_bits(product.as_signed())


class Vpe(ProcessingElement):
    """The baseline: each lane multiplies, with one DSP block.

    A stored weight is the weight itself in two's complement.
    """

    @property
    def product_shape(self) -> Shape:
        return signed(self.act_bits + self.stored_bits)

    def _product(self, m, lane, act, weight):
        return act * weight.as_signed()
