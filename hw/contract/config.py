"""The configuration: the one object that describes an accelerator."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from hw.contract.cascade import FACTOR_PORT_BITS, Cascades, cascades
from hw.contract.quad import quad
from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "MOST_TABLE_BITS",
    "AcceleratorConfig",
    "ConfigError",
]


class ConfigError(NbqnnError):
    """A configuration that cannot be built; the message names the number and its limit."""


#: Most bits of a module's ports for data. Amaranth allows 65,536 bits of ports in a module; the
#: rest is for parameters and control.
_MOST_BITS = 60_000
#: Up to so many bits of an activation a table has an entry for every code, beyond as many knots.
MOST_TABLE_BITS = 8


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """The numbers that fix the hardware.

    The array has ``filters x pixels`` processing elements. Each takes one vector of ``lanes`` input
    channels a cycle, so the array does ``lanes * filters * pixels`` multiply-equivalents a cycle.
    """

    name: str
    #: Input channels per step; also the channels in one word of the activation memory.
    lanes: int
    #: Output channels computed at once.
    filters: int
    #: Output positions computed at once; they share the weights.
    pixels: int
    #: Output channels requantized and written per cycle, for each of ``post_positions`` positions.
    post_lanes: int
    act_bits: int = 8
    weight_bits: int = 3
    acc_bits: int = 24
    #: Words (of ``lanes`` activations) in the activation memory, all banks together.
    act_depth: int = 4096
    #: Words (of ``lanes * filters`` weights) in the weight memory.
    weight_depth: int = 512
    #: Words (of ``post_lanes`` parameter sets) in the parameter memory.
    param_depth: int = 256
    axi_data_width: int = 64
    axi_address_width: int = 40
    #: AXI master ports, 1, 2 or 4. Each carries its part of every beat.
    axi_ports: int = 1
    #: Output positions requantized and written per cycle, at most ``pixels``.
    post_positions: int = 1
    #: "shift": powers of two selected in LUTs; "multiply": one multiplier per lane (the baseline).
    pe: str = "shift"
    #: "shift": no multiplier in the requantizer; "scale": one per requantizer, 16-bit factors.
    requant: str = "shift"
    #: Codes may pass through a table behind the requantizer, which computes any function of one
    #: activation. With ``act_bits`` above 8 it has 256 knots, and codes between them are
    #: interpolated.
    tables: bool = False
    #: Channel-wise sums may take their factors from activations: products of two tensors.
    products: bool = False
    #: Positions, of ``pixels``, whose lanes are in DSP blocks and not in look-up tables. Less than
    #: ``pixels``; needs ``pe = "shift"`` and an even number of filters. A block holds four lanes if
    #: the number is even and the activations have at most 8 bits, otherwise two.
    dsp_pixels: int = 0
    #: Filters, of ``filters``, for which ``block_pixels`` more positions are in DSP blocks. Even.
    dsp_filters: int = 0
    #: Taps of a kernel row that channel-wise sums take in a step, of positions beside each other.
    #: More than one needs ``pe = "shift"``; they pay off with several ``post_positions``.
    depthwise_taps: int = 1
    #: Clock that the board project asks for.
    clock_mhz: int = 250

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                raise ConfigError(
                    f"{field.name} must be of type {field.type.__name__}, not {value!r}"
                )
        self._check_range("lanes", 2, 256)
        self._check_range("filters", 1, 256)
        self._check_range("pixels", 1, 16)
        self._check_range("dsp_pixels", 0, self.pixels - 1)
        self._check_range("post_lanes", 1, 64)
        self._check_range("post_positions", 1, self.pixels)
        self._check_range("act_bits", 2, 16)
        self._check_range("weight_bits", 2, 6)
        self._check_range("acc_bits", 8, 48)
        self._check_range("act_depth", 2 * self.banks, 1 << 16)
        self._check_range("weight_depth", 2, 1 << 16)
        self._check_range("param_depth", 2, 1 << 16)
        self._check_range("axi_address_width", 32, 64)
        self._check_range("clock_mhz", 1, 1000)
        self._check_choice("axi_data_width", (32, 64, 128, 256, 512))
        self._check_choice("axi_ports", (1, 2, 4))
        if self.axi_beat_bits > 1024:
            raise ConfigError(
                f"axi_ports * axi_data_width must be at most 1024, a descriptor, "
                f"not {self.axi_ports} * {self.axi_data_width}"
            )
        self._check_choice("pe", ("shift", "multiply"))
        self._check_choice("requant", ("shift", "scale"))
        for field in ("lanes", "act_depth", "weight_depth", "param_depth"):
            value = getattr(self, field)
            if not _power_of_two(value):
                raise ConfigError(f"{field} must be a power of two, not {value}")
        for field in ("lanes", "filters"):
            value = getattr(self, field)
            if value % self.post_lanes:
                raise ConfigError(
                    f"post_lanes must divide {field} = {value}, which {self.post_lanes} does not"
                )
        if self.pe == "multiply" and self.weight_magnitude_bits >= self.act_bits:
            raise ConfigError(
                f"weight_bits must give magnitudes below 2**{self.act_bits - 1} for "
                f"{self.act_bits}-bit multipliers, not 2**{self.weight_magnitude_bits - 1} "
                f"(weight_bits = {self.weight_bits})"
            )
        if self.acc_bits < self.product_bits:
            raise ConfigError(
                f"acc_bits must hold one product of {self.product_bits} bits, not {self.acc_bits}"
            )
        if self.dsp_pixels or self.dsp_filters:
            self._check_blocks()
        if self.depthwise_taps != 1:
            self._check_taps()
        results = self.pixels * ((self.filters + self.lanes) * self.acc_bits + self.act_word_bits)
        if results > _MOST_BITS:
            raise ConfigError(
                f"pixels * ((filters + lanes) * acc_bits + lanes * act_bits) must be at most "
                f"{_MOST_BITS}, the bits of a step's results, not {results}"
            )
        operands = self.weight_word_bits + self.pixels * self.act_word_bits
        if operands > _MOST_BITS:
            raise ConfigError(
                f"lanes * (filters * weight bits + pixels * act_bits) must be at most "
                f"{_MOST_BITS}, the bits of a step's operands, not {operands}"
            )
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"name must be of letters, digits, '-' and '_', not {self.name!r}")

    def _check_blocks(self):
        found = f"not {self.dsp_pixels}"
        if self.pe != "shift":
            raise ConfigError(f'dsp_pixels must be 0 for pe = "{self.pe}", {found}')
        if self.filters % 2:
            raise ConfigError(
                f"dsp_pixels must be 0 for an odd number of filters, {found} with filters = "
                f"{self.filters}: two filters share a DSP block"
            )
        bits = self.cascades.port_bits
        if not self.quads and bits > FACTOR_PORT_BITS:
            raise ConfigError(
                f"dsp_pixels must be 0 for act_bits = {self.act_bits}, weight_bits = "
                f"{self.weight_bits} and lanes = {self.lanes}, {found}: two weights with a sum "
                f"between them take {bits} bits, a DSP block has {FACTOR_PORT_BITS}"
            )
        if self.dsp_filters:
            self._check_dsp_filters()

    def _check_dsp_filters(self):
        found = f"not {self.dsp_filters}"
        if not self.dsp_pixels:
            raise ConfigError(f"dsp_filters must be 0 without dsp_pixels, {found}")
        if self.dsp_pixels + self.block_pixels >= self.pixels:
            raise ConfigError(
                f"dsp_filters must be 0 for dsp_pixels = {self.dsp_pixels}, {found} with pixels = "
                f"{self.pixels}: {self.block_pixels} more would be in DSP blocks, and one must not"
            )
        self._check_range("dsp_filters", 0, self.filters - 2)
        if self.dsp_filters % 2:
            raise ConfigError(f"dsp_filters must be even, {found}: two filters share a DSP block")

    def _check_taps(self):
        # One row of tables adds three, and a word of weights has one for each lane and filter.
        most = min(3, self.banks - 1, self.filters)
        self._check_range("depthwise_taps", 1, most)
        if self.pe != "shift":
            raise ConfigError(
                f'depthwise_taps must be 1 for pe = "{self.pe}", not {self.depthwise_taps}'
            )

    def _check_range(self, field: str, low: int, high: int):
        value = getattr(self, field)
        if not low <= value <= high:
            raise ConfigError(f"{field} must be {low}...{high}, not {value}")

    def _check_choice(self, field: str, allowed: tuple):
        value = getattr(self, field)
        if value not in allowed:
            raise ConfigError(f"{field} must be one of {', '.join(map(str, allowed))}, not {value}")

    # Derived widths -----------------------------------------------------------------------------

    @property
    def multiplies_per_cycle(self) -> int:
        return self.lanes * self.filters * self.pixels

    @property
    def weight_magnitude_bits(self) -> int:
        """Bits of the largest weight magnitude, 2**(2**(n-1) - 2)."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def stored_weight_bits(self) -> int:
        """Bits of a weight's stored code: sign and index, or a two's-complement factor."""
        return self.weight_bits if self.pe == "shift" else self.act_bits

    @property
    def product_bits(self) -> int:
        """Bits of one lane's signed product. Lanes invert instead of negating: no bit is added."""
        if self.pe == "shift":
            return self.act_bits + self.weight_magnitude_bits - 1
        return self.act_bits + self.stored_weight_bits

    @property
    def cascades(self) -> Cascades:
        """How the lanes of two filters are put into DSP blocks, where there are ``dsp_pixels``."""
        return cascades(self.lanes, self.act_bits, self.weight_bits)

    @property
    def quads(self) -> bool:
        """Whether a DSP block holds the lanes of two filters at two pixels, not at one."""
        return self.dsp_pixels % 2 == 0 and quad(self.act_bits, self.weight_bits).fits

    @property
    def block_pixels(self) -> int:
        """Pixels whose lanes share a DSP block."""
        return 2 if self.quads else 1

    @property
    def radix_bits(self) -> int:
        """Bits of the digits in which channel-wise sums take a factor.

        Digits of two bits are -1, 0, 1 and 2, which needs weights of 2. Digits of one bit are bits.
        """
        return 2 if self.weight_bits > 2 else 1

    @property
    def factor_digits(self) -> int:
        """Digits of an activation as a factor, which has one bit more than ``act_bits``, a sign."""
        return -(-(self.act_bits + 1) // self.radix_bits)

    @property
    def banks(self) -> int:
        """Banks of the activation memory: the next power of two above ``pixels``.

        A transfer thus finds a free bank while the array reads. :mod:`hw.contract.banks` says which
        word is in which bank.
        """
        return 1 << self.pixels.bit_length()

    @property
    def tap_pixels(self) -> int:
        """Positions of a step of ``depthwise_taps`` taps.

        No more than are drained together: more would wait for their drain. And no more than read
        words from different banks: any ``banks - 1`` neighbours are in different ones.
        """
        return min(self.post_positions, self.banks - self.depthwise_taps)

    @property
    def read_words(self) -> int:
        """Words of the activation memory that a step reads at most."""
        if self.depthwise_taps == 1:
            return self.pixels
        return max(self.pixels, self.tap_pixels + self.depthwise_taps - 1)

    @property
    def taps_name(self) -> str:
        """Taps and their positions in a module's name; empty for one tap."""
        taps = self.depthwise_taps
        return f"taps{taps}_of{self.tap_pixels}" if taps > 1 else ""

    def drain_turns(self, positions: int) -> int:
        """Turns that drain ``positions`` positions of a group, ``post_positions`` in each."""
        return -(-positions // self.post_positions)

    @property
    def axi_beat_bits(self) -> int:
        """Bits that all ports move together in one cycle."""
        return self.axi_ports * self.axi_data_width

    @property
    def act_word_bits(self) -> int:
        return self.lanes * self.act_bits

    @property
    def weight_word_bits(self) -> int:
        return self.lanes * self.filters * self.stored_weight_bits

    # Storage ------------------------------------------------------------------------------------

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: dict, origin: str) -> "AcceleratorConfig":
        known = {field.name: field for field in fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"{origin}: unknown field {key!r}; known are {', '.join(known)}")
        for name in ("name", "lanes", "filters", "pixels", "post_lanes"):
            if name not in values:
                raise ConfigError(f"{origin}: field {name!r} is missing")
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None

    @property
    def digest(self) -> int:
        """32 bits that tell configurations apart. Hardware and programs carry them."""
        values = {
            key: value
            for key, value in asdict(self).items()
            if key not in _COSMETIC and (key, value) not in _AS_BEFORE
        }
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


#: Fields that change neither the hardware's behaviour nor the programs for it.
_COSMETIC = ("name", "clock_mhz")
#: Fields that were added later, with the value that stands for how it was before.
_AS_BEFORE = (
    *(("post_positions", 1), ("tables", False), ("products", False)),
    *(("dsp_pixels", 0), ("dsp_filters", 0), ("depthwise_taps", 1)),
)
