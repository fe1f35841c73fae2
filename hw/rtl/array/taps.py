"""An element of channel-wise sums that takes several taps of one channel in a step."""

from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib.wiring import In

from hw.contract.timing import pe_latency
from hw.rtl.array.svpe import Svpe

__all__ = ["TapSvpe"]


class TapSvpe(Svpe):
    """As :class:`Svpe` with a lane for each tap; the sum of a step is one signed term.

    So the accumulator is that of a single lane: its tables have inputs left for ``grow``. The
    latency is that of a single lane and one cycle more. ``exact`` is about the first lane.

    Members
    -------
    single : ``In(1)``, beside a step: the products of all lanes but the first are zero
    """

    @property
    def latency(self) -> int:
        return pe_latency(1) + 1

    @property
    def _more_ports(self) -> dict:
        return {"single": In(1)}

    @property
    def product_shape(self) -> Shape:
        return signed(super().product_shape.width)

    @property
    def term_shape(self) -> Shape:
        """The shape of a step's sum."""
        return signed(self.product_shape.width + (self.lanes - 1).bit_length())

    def _summed(self, m: Module, products: list[Value]) -> Value:
        """The sum of the step's products in ``term_shape``."""
        return sum(products)

    def build(self) -> Module:
        m = Module()
        products = []
        for lane in range(self.lanes):
            register = Signal(self.product_shape, name=f"product_{lane}")
            product = self._product(m, lane, self.act[lane], self.weight[lane])
            with m.If(self.valid):
                m.d.data += register.eq(product)
            if lane:
                # The register's reset takes no table.
                with m.If(self.single):
                    m.d.data += register.eq(0)
            products.append(register)
        term = Signal(self.term_shape)
        m.d.data += term.eq(self._summed(m, products))
        self._accumulated(m, [term], 0, 2)
        return m
