"""Area of a configuration as Yosys would count it for UltraScale+, within microseconds.

Every look-up table of the array is an explicit cell. So its tables and registers follow exactly
from the plan of its additions. The same holds for the channel-wise sums and for block memories.
Logic that grows with the words is counted too (:mod:`hw.synth.area_counts`). Control is a sum of
terms that grow with the configuration. ``area_fit.json`` has their coefficients, and the
measurements that ``scripts/fit_area`` fitted them to.
"""

import json
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Memory
from hw.contract.quad import quad
from hw.contract.reduction import Reduction, reduction
from hw.contract.structure import ArrayPart, array_parts, memory_parts, pixels_in_tables
from hw.contract.timing import (
    BURST_BEATS,
    OUTSTANDING_BURSTS,
    SECTION_FILTERS,
    block_wait,
    cascade_delays,
    pe_latency,
)
from hw.contract.words import word_bits
from hw.synth.area import Area
from hw.synth.area_counts import memory_logic, post_logic, transfer_logic

__all__ = ["FIT_FILE", "array_area", "counted_area", "estimate_area", "fitted_terms"]

#: File with resource -> term -> coefficient under ``coefficients``, and with the measurements.
FIT_FILE = Path(__file__).with_name("area_fit.json")

#: Words of a 36-Kbit block memory -> bits of each.
_BLOCK_WIDTH = {512: 72, 1024: 36, 2048: 18, 4096: 9, 8192: 4, 16384: 2, 32768: 1}
#: Memories of up to so many words are made of tables: eight hold 64 words of seven bits.
_TABLE_WORDS = 64
#: Bits of a beat in a port's buffer in addition to its data.
_BUFFER_FLAGS = 3
#: Block memories of the layers' time stamps.
_STAMP_BLOCKS = 0.5
#: Modules used at least so often are mapped alone. In others Yosys merges equal registers.
_OFTEN = 4


@dataclass(frozen=True)
class _Element:
    """One processing element in tables, registers and multipliers."""

    lut: int
    ff: int
    dsp: int


@cache
def _element(pe: str, lanes: int, act_bits: int, weight_bits: int, acc_bits: int) -> _Element:
    shift = pe == "shift"
    product_bits = act_bits + (1 << (weight_bits - 1)) - 2 if shift else 2 * act_bits
    plan = reduction(lanes, product_bits, acc_bits)
    lut = lanes * _product_tables(act_bits, weight_bits) if shift else 0
    lut += _sum_tables(plan, lanes, product_bits)
    lut += acc_bits
    # Products of multipliers count too: Yosys leaves their registers outside the blocks.
    products = lanes * product_bits
    sums = sum(map(sum, plan.widths))
    ff = products + sums + 3 * (len(plan.levels) + 1) + 2 * acc_bits
    return _Element(lut, ff, 0 if shift else lanes)


def _vector_sums(config: AcceleratorConfig) -> Area:
    """Channel-wise sums (:mod:`hw.rtl.array.vector_sum`)."""
    c = config
    one = _element(c.pe, 1, c.act_bits, c.weight_bits, c.acc_bits)
    # They have one flag more than the array's elements: whether a step multiplies the sum so far.
    single = Area(lut=one.lut, ff=one.ff + 1, dsp=one.dsp)
    factor = _factor(c) if c.products else Area()
    total = factor * (c.pixels * c.lanes)
    if c.depthwise_taps == 1:
        return total + single * (c.pixels * c.lanes)
    # More products, their sum, and flags of one more cycle.
    taps, bits = c.depthwise_taps, c.product_bits
    sum_bits = bits + (taps - 1).bit_length()
    more = (taps - 1) * _product_tables(c.act_bits, c.weight_bits) + sum_bits
    registers = (taps - 1) * bits + sum_bits + 4 + 2 * c.products
    several = single + Area(lut=more, ff=registers)
    apart = c.pixels - c.tap_pixels
    late = apart * c.act_word_bits + c.lanes * c.stored_weight_bits if apart else 0
    return total + (several * c.tap_pixels + single * apart) * c.lanes + Area(ff=late)


def _factor(config: AcceleratorConfig) -> Area:
    """Logic that turns an activation into a lane's factor (:mod:`hw.rtl.array.digits`)."""
    c = config
    # A table takes two bits of the rest of the factor. Then comes the stored digit, bit by bit. A
    # lane that inverts adds the missing 1 in a bit of its own.
    left = c.radix_bits * c.factor_digits
    tables = ceil(left / 2) + c.stored_weight_bits
    exact = c.pe == "shift"
    return Area(lut=tables + exact, ff=left + 2 * exact)


def _product_tables(act_bits: int, weight_bits: int) -> int:
    """Tables of :class:`hw.rtl.ultrascale.elements.LaneProduct`."""
    if weight_bits == 2:
        return ceil(act_bits / 2)
    if weight_bits == 3:
        # The two lowest bits share a table, and the two highest.
        return act_bits
    index_bits = weight_bits - 1
    tables, width = 1 + (weight_bits > 5), act_bits
    for stage in range(index_bits):
        shift = 1 << stage
        # A table takes two bits. The top bit of a stage in the middle is only passed on.
        tables += ceil((width + shift - 1) / 2)
        width += shift
    return tables


def _sum_tables(plan: Reduction, lanes: int, product_bits: int) -> int:
    """Tables of all :class:`hw.rtl.ultrascale.elements.Sum` of an element: one per bit."""
    widths = [product_bits] * lanes + [plan.constant.bit_length()] * (plan.constant != 0)
    tables = 0
    for groups, sums in zip(plan.levels, plan.widths, strict=True):
        for group, width in zip(groups, sums, strict=True):
            if len(group) > 1:
                # The carry of two numbers stays in the chain. Three numbers carry into a row too.
                widest, second = sorted((widths[term] for term in group), reverse=True)[:2]
                tables += min(width, widest + (widest == second))
        widths = list(sums)
    return tables


def array_area(config: AcceleratorConfig) -> Area:
    """The array with its registers for activations and weights."""
    c = config
    if c.dsp_pixels:
        total = _waiting(c)
        blocks = _quads if c.quads else _cascades
        for part in array_parts(c):
            total += array_area(pixels_in_tables(c, part)) + blocks(c, part)
        return total
    element = _element(c.pe, c.lanes, c.act_bits, c.weight_bits, c.acc_bits)
    elements = c.filters * c.pixels
    return Area(
        lut=element.lut * elements,
        ff=element.ff * elements + _section_registers(c, c.filters, c.pixels),
        dsp=element.dsp * elements,
    )


def _section_registers(config: AcceleratorConfig, filters: int, pixels: int) -> int:
    """Registers of the steps of so many filters at so many pixels."""
    c = config
    # Sections of all filters but the last are alike.
    alike = filters // SECTION_FILTERS >= _OFTEN
    copies = ceil(filters / SECTION_FILTERS) if alike else 1
    weights = c.lanes * filters * c.stored_weight_bits
    return copies * (pixels * c.act_word_bits + 3) + weights


def _waiting(config: AcceleratorConfig) -> Area:
    """What delays the words and the flags in front of the pixels in tables and in blocks."""
    c = config
    wait = block_wait(c)
    if not c.quads:
        # Shift registers in tables, one for each bit of a word. The flags but ``valid`` have them
        # too.
        return Area(lut=c.pixels * c.act_word_bits + c.weight_word_bits + 2, ff=wait)
    # Pixels that are in blocks for all filters do not wait.
    words = (c.pixels - c.dsp_pixels) * c.act_word_bits + c.weight_word_bits
    return Area(ff=wait * (words + 3))


def _cascades(config: AcceleratorConfig, part: ArrayPart) -> Area:
    """A part's pixels in cascades of DSP blocks (:mod:`hw.rtl.array.cascade_section`)."""
    c = config
    plan, elements = c.cascades, part.filters * part.dsp_pixels
    _, wait = cascade_delays(c)
    total = _sums_of_fields(c, plan.count, plan.field_bits) * elements
    # Synthesis inverts the top bit of a single field by itself.
    simple = elements * (plan.count == 1)
    # Two bits of a factor share a table, and all pixels share a factor. There are two registers for
    # the sign of each weight, in front of the blocks.
    codes = c.lanes * part.filters
    return total + Area(
        lut=simple + codes * plan.factor_bits // 2,
        ff=elements * plan.count * plan.field_bits * wait
        + 2 * codes
        + _section_registers(c, part.filters, part.dsp_pixels),
        dsp=elements // 2 * c.lanes,
    )


def _quads(config: AcceleratorConfig, part: ArrayPart) -> Area:
    """A part's pixels in DSP blocks of four lanes (:mod:`hw.rtl.array.quad_section`)."""
    c = config
    plan, elements = quad(c.act_bits, c.weight_bits), part.filters * part.dsp_pixels
    total = _sums_of_fields(c, c.lanes, plan.field_bits) * elements
    # All pixels share what is made of two weights: two bits share a table, and all of them and the
    # signs have a register.
    pairs = c.lanes * part.filters // 2
    return total + Area(
        lut=pairs * (plan.rest_bits + 1),
        ff=pairs * 2 * (plan.rest_bits + 1) + _section_registers(c, part.filters, part.dsp_pixels),
        dsp=elements // 4 * c.lanes,
    )


def _sums_of_fields(config: AcceleratorConfig, count: int, bits: int) -> Area:
    """The sums of an element that takes ``count`` fields, and its accumulator."""
    acc_bits = config.acc_bits
    plan = reduction(count, bits, acc_bits)
    flags = 3 * (pe_latency(config.lanes) - 1)
    return Area(
        lut=_sum_tables(plan, count, bits) + acc_bits,
        ff=sum(map(sum, plan.widths)) + flags + 2 * acc_bits,
    )


def counted_area(config: AcceleratorConfig) -> Area:
    """The area that can be counted: array, channel-wise sums, memories and logic beside them."""
    c = config
    total = array_area(c) + _vector_sums(c)
    lut, ff, blocks = 0, 0, _STAMP_BLOCKS
    # A bank's word is written in parts, each of which has memories of its own.
    chunks, rows = c.banks * c.lanes // c.post_lanes, c.act_depth // c.banks
    for number, width, depth in (
        *((chunks, bits, rows) for bits in memory_parts(c.post_lanes * c.act_bits, rows)),
        (1, c.weight_word_bits, c.weight_depth),
        (1, word_bits(c, Memory.PARAM), c.param_depth),
        (c.axi_ports, c.axi_data_width + _BUFFER_FLAGS, OUTSTANDING_BURSTS * BURST_BEATS),
    ):
        if depth <= _TABLE_WORDS:
            lut += number * 8 * ceil(width / 7)
            # A block memory contains these registers.
            ff += number * width
        else:
            count, parts = _blocks(width, depth)
            blocks += number * count
            lut += number * width * ceil((parts - 1) / 3)
    dsp = c.post_positions * c.post_lanes if c.requant == "scale" else 0
    total += Area(lut=lut, ff=ff, bram36=blocks, dsp=dsp)
    return total + memory_logic(c) + post_logic(c) + transfer_logic(c)


def _blocks(width: int, depth: int) -> tuple[float, int]:
    """Block memories, in halves, for ``depth`` words of ``width`` bits, and parts of the depth.

    Tables choose one of the parts. Fewer parts take fewer tables, but may take more blocks.
    """
    options = []
    for words, bits in _BLOCK_WIDTH.items():
        parts = ceil(depth / words)
        # Only the widest blocks end in half a one where the last bits fit it.
        beside = ceil(2 * width / bits) / 2 if bits > 36 else ceil(width / bits)
        if width <= bits // 2:
            beside = 0.5
        options.append((beside * parts, parts))
    return min(options)


def fitted_terms(config: AcceleratorConfig) -> dict[str, dict[str, float]]:
    """Resource -> term -> value of the terms that the rest of the accelerator grows with."""
    c = config
    # A walker that makes a group each cycle has several times as many adders.
    walker = 1 if c.post_positions == 1 else 3
    # Words in a row have addresses of their own, each about as large as a pixel's.
    in_row = c.read_words if c.depthwise_taps > 1 else 0
    return {
        "lut": {
            "control": 1,
            "pixels": walker * c.pixels + in_row,
            "ports": c.axi_ports,
            "beats": c.axi_beat_bits,
        },
        "ff": {"control": 1, "pixels": c.pixels, "ports": c.axi_ports},
    }


def estimate_area(config: AcceleratorConfig) -> Area:
    """Area of the whole accelerator."""
    counted, terms = counted_area(config), fitted_terms(config)
    fitted = {
        resource: round(
            sum(_coefficients()[resource][name] * value for name, value in values.items())
        )
        for resource, values in terms.items()
    }
    return counted + Area(**fitted)


@cache
def _coefficients() -> dict[str, dict[str, float]]:
    return json.loads(FIT_FILE.read_text(encoding="utf-8"))["coefficients"]
