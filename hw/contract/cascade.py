"""How lanes are put into DSP blocks: two filters to a block, a step's lanes along a cascade."""

from dataclasses import dataclass

__all__ = ["CASCADE_LANES", "FACTOR_PORT_BITS", "Cascades", "cascades"]

#: Most lanes of one cascade. Lane i comes i cycles later than the first one, and a shift register
#: in a look-up table delays by 32 cycles.
CASCADE_LANES = 32
#: Bits of a DSP48E2's factor that two weights share; the other one takes the activation.
FACTOR_PORT_BITS = 27


@dataclass(frozen=True)
class Cascades:
    """The lanes of two filters at one pixel.

    lanes, count : ``count`` cascades of ``lanes`` blocks.
    factor_bits : bits of a weight as a factor, in two's complement.
    field_bits : bits of a cascade's sum of one filter. Both sums are in one number: that of the
        second filter is ``field_bits`` higher. To each ``2**(field_bits - 1)`` is added, so that it
        is no less than zero and nothing is borrowed from the field above.
    """

    lanes: int
    count: int
    factor_bits: int
    field_bits: int

    @property
    def port_bits(self) -> int:
        """Bits of two weights as one factor."""
        return self.field_bits + self.factor_bits


def cascades(lanes: int, act_bits: int, weight_bits: int) -> Cascades:
    """For ``lanes`` lanes, a power of two. Whether ``port_bits`` fits is the caller's question."""
    length = min(lanes, CASCADE_LANES)
    magnitude_bits = (1 << (weight_bits - 1)) - 1
    # A sum of products as the shifting lanes make them: of a negative weight one less.
    field_bits = act_bits + magnitude_bits - 1 + (length - 1).bit_length()
    return Cascades(length, lanes // length, magnitude_bits + 1, field_bits)
