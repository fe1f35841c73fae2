"""How four lanes share a DSP block: two filters at two pixels, each with a product of its own."""

from dataclasses import dataclass

from hw.contract.cascade import FACTOR_PORT_BITS

__all__ = ["ACTIVATION_PORT_BITS", "Quad", "quad"]

#: Bits of a DSP48E2's factor that two activations share.
ACTIVATION_PORT_BITS = 18


@dataclass(frozen=True)
class Quad:
    """A block that multiplies two weights by two activations.

    field_bits : bits of a product as the shifting lanes make it. The second weight is
        ``2 * field_bits`` higher than the first, the second activation ``field_bits``. So the four
        products follow one another.
    rest_bits : bits of a weight that is made positive: ``2**(rest_bits - 1)`` is added to negative
        ones.
    """

    act_bits: int
    field_bits: int
    rest_bits: int

    @property
    def fits(self) -> bool:
        """Whether a block's ports have the bits."""
        factor_bits = 2 * self.field_bits + self.rest_bits + 1
        return (
            factor_bits <= FACTOR_PORT_BITS
            and self.field_bits + self.act_bits <= ACTIVATION_PORT_BITS
        )


def quad(act_bits: int, weight_bits: int) -> Quad:
    """For these widths. Whether it ``fits`` is the caller's question."""
    magnitude_bits = (1 << (weight_bits - 1)) - 1
    return Quad(act_bits, act_bits + magnitude_bits - 1, magnitude_bits + 1)
