"""Random layer commands, and the steps of their groups worked out without a sequencer."""

import random
from dataclasses import dataclass

import numpy as np

from hw.contract.isa import BODIES, DRAIN_FIELDS, Opcode, Product, Unit
from hw.contract.structure import activation_address_bits

__all__ = ["Group", "LayerCommand", "bit_fields", "random_command"]

_WIDTHS = BODIES[Opcode.COMPUTE]


def bit_fields(values) -> int:
    """(value, bits) in order, lowest first."""
    word, at = 0, 0
    for value, bits in values:
        word |= (int(value) & ((1 << bits) - 1)) << at
        at += bits
    return word


@dataclass(frozen=True)
class Group:
    """What is offered for a group, what is handed to the drain, and the steps between.

    Of each step: flags (first, last, grow, those of a product as a number), its weights' address,
    and for each position in use (padded, word).
    """

    payload: int
    drain: int
    start: bool
    end: bool
    steps: list[tuple[tuple[bool, bool, bool, int], int, list[tuple[bool, int]]]]


@dataclass(frozen=True)
class LayerCommand:
    fields: dict[str, int]
    groups: list[Group]

    @property
    def payload(self) -> int:
        return bit_fields((self.fields[name], bits) for name, bits in _WIDTHS.items())

    @property
    def drain_payload(self) -> int:
        return bit_fields((self.fields[name], _WIDTHS[name]) for name in DRAIN_FIELDS)


def product_flags(product, at_group, at_column, columns) -> list[int]:
    """Flags of every step as numbers, 0 without a product.

    From the low bit: product, digit, take, turn, negate, unsigned.
    """
    if not product:
        return [0] * len(at_group)
    digits = at_group > 0
    flags = (
        *(True, digits, ~digits & (at_column == 0), digits & (at_column == columns - 1)),
        *(at_column > 0, product & Product.UNSIGNED != 0),
    )
    return [int(word) for word in sum(flag << bit for bit, flag in enumerate(map(as_int, flags)))]


def as_int(value) -> np.ndarray:
    return np.asarray(value).astype(int)


def random_command(config, unit: Unit, *, most_steps: int) -> LayerCommand:
    """A window of random size over a map in the memory that ends inside it or beyond its edges.

    Channel-wise sums may take several taps, whose words are in a row, or be products of two maps,
    or of a map and a word, where the configuration has them. Kernel, dilation, padding, channel
    groups, filter groups and spacing are random; at least every fourth command has a single step
    for each group.
    """
    bits = activation_address_bits(config)
    kernel_h, kernel_w = random.randrange(1, 6), random.randrange(1, 6)
    if random.random() < 0.3:
        kernel_h = kernel_w = 1
    channel_groups = random.choice((1, 1, 2, random.randrange(1, 9)))
    product = 0
    if config.products and unit is Unit.SUM and random.random() < 0.6:
        product = 1 | random.randrange(4) << 1
        channel_groups, kernel_h, kernel_w = random.randrange(2, 7), 1, random.randrange(1, 3)
    if kernel_h * kernel_w * channel_groups > most_steps:
        channel_groups = 1
    down, across = random.randrange(1, 4), random.randrange(1, 4)
    pitch, plane = random.randrange(1, 70), random.getrandbits(bits)
    height, width = random.randrange(1, 20), random.randrange(1, 20)
    filter_groups, row_groups = random.randrange(1, 4), random.randrange(1, 5)
    steps = kernel_h * kernel_w * channel_groups
    fields = {name: random.getrandbits(width) for name, width in _WIDTHS.items()} | {
        "unit": unit,
        # Often what the steps take or more, often a cycle, as with few channels.
        "drain_cycles": random.choice((1, 2, steps, random.randrange(1, 2 * steps + 8))),
        "channel_groups": channel_groups,
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "in_height": height,
        "in_width": width,
        "tap_column": across,
        "tap_row": down,
        "tap_row_origin": down * pitch - (kernel_w - 1) * across,
        "tap_group_origin": plane - (kernel_h - 1) * down * pitch - (kernel_w - 1) * across,
        "weight_step": random.randrange(2),
        # The sums of a product are its own.
        "adds": 0 if product else random.choice((0, 0, 1, 2, 3)),
    }
    if config.products:
        fields |= {"product": product, "factor": random.getrandbits(16) if product else 0}
    several = config.depthwise_taps > 1 and unit is Unit.SUM and not product
    several = several and random.random() < 0.6
    fields["adds"] |= 4 * several
    # Of all taps, in the order of the steps.
    at_group, at_row, at_column = np.indices((channel_groups, kernel_h, kernel_w)).reshape(3, -1)
    offsets = at_group * plane + at_row * down * pitch + at_column * across
    if product:
        offsets = np.where(at_group == 0, fields["factor"], 0) + at_column * across
    shared = (at_group == 0) & (product & Product.SHARED != 0)
    of_product = product_flags(product, at_group, at_column, kernel_w)
    groups = []
    for filter_group in range(filter_groups):
        weights = fields["weight_base"] + filter_group * steps * fields["weight_step"]
        for number in range(row_groups):
            filter_end = number + 1 == row_groups
            end = filter_end and filter_group + 1 == filter_groups
            count = random.choice((config.pixels, random.randrange(1, config.pixels + 1)))
            # Position: row and column of the window's corner, its word, the output's word.
            corners = [
                (random.randrange(-5, height + 3), random.randrange(-5, width + 3))
                for _ in range(config.pixels)
            ]
            words = [(random.getrandbits(bits), random.getrandbits(bits)) for _ in corners]
            positions = [(*at, *word) for at, word in zip(corners, words, strict=True)]
            reads = []
            read = [position[:3] for position in positions[:count]]
            if several:
                count = min(count, config.tap_pixels)
                row, column, origin = read[0]
                ahead = range(count + config.depthwise_taps - 1)
                read = [(row, column + number, origin + number) for number in ahead]
            for row, column, origin in read:
                rows, columns = row + at_row * down, column + at_column * across
                inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
                reads.append(zip(~inside, (~shared * origin + offsets) % (1 << bits), strict=True))
            flags = [
                (
                    step == 0 and not fields["adds"] & 1,
                    step + 1 == steps,
                    step % (kernel_h * kernel_w) == 0 and (step > 0 or fields["adds"] & 2 != 0),
                    word,
                )
                for step, word in enumerate(of_product)
            ]
            in_order = [[(bool(p), int(w)) for p, w in step] for step in zip(*reads, strict=True)]
            start = not groups
            last = [(count, config.pixels.bit_length()), (filter_end, 1), (end, 1)]
            groups.append(
                Group(
                    payload=bit_fields(
                        [
                            field
                            for row, column, origin, out in positions
                            for field in ((row, 16), (column, 16), (origin, bits), (out, bits))
                        ]
                        + [last[0], (start, 1), *last[1:]]
                    ),
                    drain=bit_fields([(out, bits) for *_, out in positions] + last),
                    start=start,
                    end=end,
                    steps=[
                        (flag, (weights + step) % (1 << 16), taps)
                        for step, (flag, taps) in enumerate(zip(flags, in_order, strict=True))
                    ],
                )
            )
    return LayerCommand(fields, groups)
