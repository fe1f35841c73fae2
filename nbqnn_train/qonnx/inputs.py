"""Finds the format of an Input that has the steps of the quantizer behind it."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from nbqnn_train.graph.bounds import required_bits
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACT_BITS, EXPONENT
from nbqnn_train.graph.nodes import Input

from .lines import Chain, Line, columns
from .reader import Reader
from .staircase import NEAREST, rounded
from .values import Leaf
from .weights import exact_log2

__all__ = ["input_codes"]

#: The format of an input that the model does not quantize, unless another one is given.
_DEFAULT = (True, 16, -13)
_HALF = Fraction(1, 2)


def input_codes(reader: Reader, what: str, leaf: Leaf, form) -> Leaf:
    """``leaf``, whose source is real input, as a chain on the codes of an Input.

    form : limits of the quantizer whose codes ``leaf`` has. None if there is no quantizer: then the
        Input has the format that was asked for.
    """
    if form is None or not leaf.chain.roundings:
        return _as_asked(reader, what, leaf)
    rounding = leaf.chain.roundings[0]
    scale, offset = rounding.line.scale, rounding.line.offset
    nearest = rounding.mode in NEAREST
    wanted = {True: Fraction(0), False: _HALF}[nearest]
    whole = leaf.chain.line.offset
    power = exact_log2(scale[0]) if len(scale) == 1 else None
    if not nearest and rounding.mode != "FLOOR":
        _inexact(
            reader,
            what,
            f"input {leaf.source!r} must be rounded to the nearest step, not by {rounding.mode}",
        )
        return _on_a_grid(reader, what, leaf, form)
    if power is not None and offset == (wanted,) and len(whole) == 1:
        return _direct(reader, what, leaf, form, -power)
    return _on_a_grid(reader, what, leaf, form)


def _ties(reader: Reader, what: str, mode: str, form, edges: Callable[[int], tuple]) -> str:
    """The rounding of ties in the Input that gives the quantizer the codes of the model.

    edges : for one of the quantizer's codes gives a pair for each channel: the rounded code, and
    the Input's code just above the edge at which that code begins.
    """
    # Two codes at either end suffice: in between, parities alternate or stay.
    codes = {form.low + 1, form.low + 2, form.high - 1, form.high}
    pairs = [pair for code in codes if form.low < code <= form.high for pair in edges(code)]
    for ties, parity in (("up", None), ("even", 0), ("odd", 1)):
        if all(_rises(mode, code) == (parity is None or own % 2 == parity) for code, own in pairs):
            return ties
    _inexact(
        reader,
        what,
        f"ties of the input go elsewhere in the model ({mode}) than an Input can have them",
    )
    return "up"


def _rises(mode: str, code: Fraction) -> bool:
    """Whether the value half a step below ``code`` is rounded up to it."""
    if mode in ("ROUND", "HALF_EVEN"):
        return code % 2 == 0
    if mode == "HALF_UP":  # away from zero
        return code >= 1
    return mode == "FLOOR" or code <= 0


def _inexact(reader: Reader, what: str, text: str) -> None:
    if reader.options.exact:
        raise GraphError(f"{what}: {text}; import with exact=False (--approximate) to accept that")
    places = reader.flaws.setdefault("input", [])
    if what not in places:
        places.append(what)


def _direct(reader: Reader, what: str, leaf: Leaf, form, exponent: int) -> Leaf:
    """The Input is the quantizer itself. What comes after it stays."""
    whole = leaf.chain.line.offset[0]
    first = leaf.chain.roundings[0].line
    bits, signed = form.bits, form.signed
    if whole:
        low, high = int(form.low - whole), int(form.high - whole)
        signed = low < 0
        bits = max(required_bits(min(low, 0), max(high, 0)) - (not signed), ACT_BITS[0])
    mode = leaf.chain.roundings[0].mode
    ties = _ties(reader, what, mode, form, lambda code: [(code - whole, code - whole)])
    name = _put(reader, what, leaf, signed, bits, exponent, ties)
    line = leaf.chain.line
    if first.limited:
        codes = [
            columns(lambda v: None if v is None else Fraction(rounded(mode, v)), ends)
            for ends in (first.low, first.high)
        ]
        inner = Line(low=codes[0], high=codes[1])
        line = replace(inner.times(line.scale).plus(line.offset), scale=line.scale)
    return Leaf(name, leaf.shape, Chain(leaf.chain.roundings[1:], line))


def _on_a_grid(reader: Reader, what: str, leaf: Leaf, form) -> Leaf:
    """An Input of finer steps. If possible, every edge of the quantizer is an edge of the Input."""
    if len(leaf.chain.roundings) > 1:
        raise GraphError(f"{what}: input {leaf.source!r} must be quantized in one step")
    rounding, after = leaf.chain.roundings[0], leaf.chain.line
    half = _HALF if rounding.mode in NEAREST else Fraction(0)
    if min(rounding.line.scale) <= 0 or after.scale != (1,):
        raise GraphError(f"{what}: input {leaf.source!r} must have a positive scale")

    def edge(code: int):
        return columns(
            lambda s, o, b: (code - b - half - o) / s,
            rounding.line.scale,
            rounding.line.offset,
            after.offset,
        )

    first, last = edge(form.low + 1), edge(form.high)
    exponent = _edge_exponent(first, rounding.line.scale)
    if exponent is not None:
        low = min(_code(x, exponent) for x in first) - 1
        high = max(_code(x, exponent) for x in last)
        signed = low < 0
        bits = max(required_bits(min(low, 0), max(high, 0)) - (not signed), ACT_BITS[0])
        if bits <= ACT_BITS[1]:

            def codes(code: int) -> list[tuple]:
                places = [_code(x, exponent) for x in edge(code)]
                offsets = after.offset * (len(places) // len(after.offset))
                places *= len(offsets) // len(places)
                return [(code - b, own) for b, own in zip(offsets, places, strict=True)]

            ties = _ties(reader, what, rounding.mode, form, codes)
            return _scaled(reader, what, leaf, signed, bits, exponent, ties)
    _inexact(
        reader,
        what,
        f"no Input, which rounds to the nearest multiple of a power of two, has the steps of the "
        f"quantizer of input {leaf.source!r}: {rounding.mode} in steps of "
        f"{float(1 / rounding.line.scale[0]):g}, moved by {float(rounding.line.offset[0]):g} steps",
    )
    spacing = max(1 / s for s in rounding.line.scale)
    low, high = min(first) - spacing, max(last) + spacing
    signed = low < 0
    bits = ACT_BITS[1] - signed
    size = max(abs(low), abs(high))
    exponent = -126
    while size > Fraction(2) ** (exponent + bits):
        exponent += 1
    return _scaled(reader, what, leaf, signed, ACT_BITS[1], exponent)


def _edge_exponent(edges: tuple, scale: tuple) -> int | None:
    """The exponent with which codes change at every edge: ``edge = (j - 1/2) * 2**exponent``."""
    found = set()
    for edge in edges:
        if edge == 0 or edge.denominator & (edge.denominator - 1):
            return None
        low_bit = (edge.numerator & -edge.numerator).bit_length() - 1
        found.add(low_bit - (edge.denominator.bit_length() - 1) + 1)
    if len(found) != 1:
        return None
    exponent = found.pop()
    spacings = [(1 / s) / Fraction(2) ** exponent for s in scale]
    fits = all(spacing.denominator == 1 for spacing in spacings)
    return exponent if fits and EXPONENT[0] <= exponent <= EXPONENT[1] else None


def _code(edge: Fraction, exponent: int) -> int:
    return int(edge / Fraction(2) ** exponent + _HALF)


def _as_asked(reader: Reader, what: str, leaf: Leaf) -> Leaf:
    """An Input in the format that was asked for, or of 16 bits where approximations are allowed."""
    given = reader.options.input_format
    if given is None:
        if reader.options.exact:
            raise GraphError(
                f"{what}: input {leaf.source!r} is not quantized in the model; name its format "
                "(--input-format s8:-7 is 8 bits, signed, in steps of 2**-7), or import with "
                "exact=False (--approximate) for 16 bits"
            )
        given = _DEFAULT
        signed, bits, exponent = given
        reach = 2.0 ** (bits - 1 + exponent)
        note = (
            f"input {leaf.source!r} is not quantized in the model: taken in 16 bits, "
            f"{-reach:g}..{reach:g} in steps of 2**{exponent}; --input-format takes another"
        )
        if note not in reader.notes:
            reader.notes.append(note)
    signed, bits, exponent = given
    return _scaled(reader, what, leaf, signed, bits, exponent)


def _scaled(
    reader, what: str, leaf: Leaf, signed: bool, bits: int, exponent: int, ties: str = "up"
) -> Leaf:
    name = _put(reader, what, leaf, signed, bits, exponent, ties)
    first = leaf.chain.first
    scale = columns(lambda s: s * Fraction(2) ** exponent, first.scale)
    return Leaf(name, leaf.shape, leaf.chain.with_first(replace(first, scale=scale)))


def _put(reader, what: str, leaf: Leaf, signed: bool, bits: int, exponent: int, ties: str) -> str:
    if not EXPONENT[0] <= exponent <= EXPONENT[1]:
        raise GraphError(f"{what}: step of an input must be 2**{EXPONENT[0]}..2**{EXPONENT[1]}")
    wanted = Input(
        name=leaf.source,
        shape=_shape(reader, leaf),
        bits=bits,
        signed=signed,
        exponent=exponent,
        ties=ties,
    )
    known = reader.nodes.get(leaf.source)
    if known is None:
        return reader.put(wanted)
    if known != wanted:
        raise GraphError(
            f"{what}: input {leaf.source!r} must be quantized in one way only; another Quant takes "
            f"{known.bits} bits in steps of 2**{known.exponent}"
        )
    return known.name


def _shape(reader: Reader, leaf: Leaf) -> tuple[int, ...]:
    return next(item.shape for item in reader.model.inputs if item.name == leaf.source)
