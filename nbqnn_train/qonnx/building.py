"""Makes activations of the graph from real values: at quantizers, and without one where it is
exact."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm, log2

from nbqnn_train.graph.bounds import required_bits
from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.limits import ACT_BITS, EXPONENT
from nbqnn_train.graph.nodes import (
    Clip,
    Concat,
    Flatten,
    MaxPool2d,
    Requantize,
)
from nbqnn_train.graph.operators import Pad2d, Table

from .inputs import input_codes
from .lines import Chain, Column, Line, Rounding
from .reader import Reader
from .signs import rising
from .staircase import code_of, limit_of, rule
from .values import Flat, Join, Leaf, Pad, Pool, Tail, Value, elementwise

__all__ = [
    "Format",
    "activation",
    "at_once",
    "code_range",
    "common_step",
    "format_of",
    "labelled",
    "of_activations",
    "quantized",
    "settled",
    "with_inputs",
]


@dataclass(frozen=True)
class Format:
    """Codes of a quantizer: ``low``..``high`` in ``bits``, each standing for ``step``."""

    step: Column
    low: int
    high: int
    bits: int
    signed: bool

    @property
    def exponent(self) -> int:
        """The power of two next to the step. The step itself is kept outside of the graph."""
        step = self.step[0]
        nearest = round(log2(step.numerator) - log2(step.denominator))
        return min(max(nearest, EXPONENT[0]), EXPONENT[1])


def format_of(step: Column, low: int, high: int) -> Format:
    """The narrowest format that holds ``low``..``high``."""
    signed = low < 0
    bits = required_bits(min(low, 0), max(high, 0)) - (0 if signed else 1)
    return Format(step, low, high, max(bits, ACT_BITS[0]), signed)


def quantized(
    reader: Reader,
    what: str,
    value: Value,
    form: Format,
    mode: str,
    name: str,
    strict: bool = False,
) -> Leaf:
    """The activation that a quantizer makes of ``value``: ``name``, or one that exists already.

    strict : whether its format must be exactly ``form``, not only its codes.
    """
    if form.bits > ACT_BITS[1]:
        raise GraphError(
            f"{what}: activations must have {ACT_BITS[0]}..{ACT_BITS[1]} bits, not {form.bits}"
        )
    steps = elementwise(what, value, "times", tuple(1 / step for step in form.step))
    codes = elementwise(what, steps, "round", (mode,))
    source = _built(reader, what, codes, form, name, strict)
    return Leaf(source, reader.types[source].shape, Chain(line=Line(scale=form.step)))


def _built(reader: Reader, what: str, value: Value, form: Format, name: str, strict: bool) -> str:
    """The node with the codes of ``value``; with ``strict`` exactly in the format ``form``."""
    if isinstance(value, Leaf):
        if value.real:
            value = input_codes(reader, what, value, form)
        return _requantized(reader, what, value, form, name, strict)
    if isinstance(value, Join):
        parts = tuple(
            _built(reader, what, part, form, f"{name}_part{i}", strict=True)
            for i, part in enumerate(value.parts)
        )
        return reader.put(Concat(name=reader.free(name), operands=parts))
    if isinstance(value, Tail):
        raise GraphError(f"{what}: nothing but the end of the network may follow a {value.kind}")
    inner = _built(reader, what, value.inner, form, f"{name}_in", strict)
    if isinstance(value, Pool):
        return reader.put(MaxPool2d(name=reader.free(name), input=inner, **value.window))
    if isinstance(value, Flat):
        return reader.put(Flatten(name=reader.free(name), input=inner))
    # What a Pad puts there is 0 until the quantizer, whose codes need not have it.
    zero = min(max(0, form.low), form.high)
    pad = Pad2d(
        name=reader.free(name), input=inner, padding=value.padding, mode="constant", value=zero
    )
    return reader.put(pad)


def _column(values: tuple, channels: int) -> tuple:
    return values * channels if len(values) == 1 else values


def _requantized(
    reader: Reader, what: str, leaf: Leaf, form: Format, name: str, strict: bool
) -> str:
    if leaf.chain.function is not None:
        return _table(reader, what, leaf, form, name)
    while len(leaf.chain.roundings) > 1 or (leaf.chain.roundings and leaf.chain.line.scale != (1,)):
        leaf = _rounded_once(reader, what, leaf, name)
    source, chain = leaf.source, leaf.chain
    channels = leaf.shape[0]
    source, chain = rising(reader, what, source, chain, channels)
    low, high = _limits(what, chain, form, channels)
    kind = reader.types[source]
    whole = not chain.roundings and chain.line.scale == (1,) and chain.line.offset == (0,)
    same = (kind.bits, kind.signed, kind.exponent) == (form.bits, form.signed, form.exponent)
    if whole and not kind.is_accumulator and (same or not strict):
        span = reader.intervals[source]
        if low <= int(span.low.min()) and int(span.high.max()) <= high:
            return source
        if max(low, kind.low) <= min(high, kind.high):
            limits = {"low": max(low, kind.low), "high": min(high, kind.high)}
            return reader.put(Clip(name=reader.free(name), input=source, **limits))
    if not chain.roundings:
        chain = Chain(roundings=(Rounding(chain.line, "FLOOR"),))
    rules = []
    for channel in range(channels):
        span = reader.interval(source, channel)
        found = rule(what, chain, channel, span, low, high)
        if found.flaw is not None:
            _flawed(reader, what, chain, channel, found.flaw)
        rules.append(found)
    return reader.put(
        Requantize(
            name=reader.free(name),
            input=source,
            multiplier=[r.multiplier for r in rules],
            bias=[r.bias for r in rules],
            shift=[r.shift for r in rules],
            bits=form.bits,
            signed=form.signed,
            exponent=form.exponent,
            low=low,
            high=high,
        )
    )


def _table(reader: Reader, what: str, leaf: Leaf, form: Format, name: str) -> str:
    """A table that gives the code for every code of the input."""
    lines = [*(rounding.line for rounding in leaf.chain.roundings), leaf.chain.line]
    if any(len(c) > 1 for line in lines for c in (line.scale, line.offset, *_ends(line))):
        raise GraphError(f"{what}: must have one scale for all channels of a function")
    kind = reader.types[leaf.source]
    codes = [code_of(leaf.chain, 0, code) for code in range(kind.low, kind.high + 1)]
    return reader.put(
        Table(
            name=reader.free(name),
            input=leaf.source,
            table=[min(max(code, form.low), form.high) for code in codes],
            bits=form.bits,
            signed=form.signed,
            exponent=form.exponent,
        )
    )


def _rounded_once(reader: Reader, what: str, leaf: Leaf, name: str) -> Leaf:
    """``leaf`` after its first rounding, whose integers become an activation."""
    first, *rest = leaf.chain.roundings
    integers = Leaf(leaf.source, leaf.shape, Chain(roundings=(first,)))
    own = _exactly(reader, what, integers, f"{name}_rounded", None)
    return Leaf(own.source, leaf.shape, Chain(tuple(rest), leaf.chain.line))


def _flawed(reader: Reader, what: str, chain: Chain, channel: int, flaw: str) -> None:
    """Refuses a rule that is not exact, or notes its flaw."""
    if not reader.options.exact:
        places = reader.flaws.setdefault(flaw, [])
        if what not in places[-1:]:
            places.append(what)
        return
    if flaw == "ties":
        raise GraphError(
            f"{what}: ties of channel {channel} go to even or away from zero in the model and up "
            "in the graph; import with exact=False (--approximate) to accept that"
        )
    scale = float(_column(chain.first.scale, channel + 1)[channel])
    raise GraphError(
        f"{what}: scale {scale} of channel {channel} must be m / 2**s with m of 16 bits, or close "
        "enough to one that no code changes; import with exact=False (--approximate) to round it"
    )


def _limits(what: str, chain: Chain, form: Format, channels: int) -> tuple[int, int]:
    """The format's limits, narrowed by those in the chain."""
    lines = [*(rounding.line for rounding in chain.roundings), chain.line]
    uniform = all(
        len(column) == 1 for line in lines for column in (line.scale, line.offset, *_ends(line))
    )
    found = set()
    for channel in range(1 if uniform or not any(map(_bounded, lines)) else channels):
        least, most = limit_of(chain, channel, -1), limit_of(chain, channel, 1)
        low = form.low if least is None else min(max(form.low, least), form.high)
        high = form.high if most is None else max(min(form.high, most), form.low)
        found.add((low, high))
    if len(found) > 1:
        raise GraphError(f"{what}: limits before a Quant must be one for all channels")
    return found.pop()


def _ends(line: Line) -> tuple[tuple, tuple]:
    return line.low, line.high


def _bounded(line: Line) -> bool:
    return line.limited


def _leaves(value: Value) -> list[Leaf]:
    if isinstance(value, Leaf):
        return [value]
    if isinstance(value, Join):
        return [leaf for part in value.parts for leaf in _leaves(part)]
    return _leaves(value.inner)


def _is_activation(reader: Reader, value: Value) -> bool:
    """Whether ``value`` is an activation with a scale and an offset only."""
    if not isinstance(value, Leaf) or value.real or value.chain.roundings:
        return False
    if value.chain.function is not None:
        return False
    return not value.chain.line.limited and not reader.types[value.source].is_accumulator


def of_activations(reader: Reader, value: Value) -> bool:
    """Whether ``value`` consists of activations with scales and offsets: it can become one."""
    return all(_is_activation(reader, leaf) for leaf in _leaves(value))


def at_once(reader: Reader, value: Value, name: str) -> Value:
    """Pooled or joined activations of one format become the node ``name``; other values stay."""
    parts = value.parts if isinstance(value, Join) else (value.inner,)
    if not all(isinstance(part, Leaf) and _is_activation(reader, part) for part in parts):
        return value
    kinds = {(t.bits, t.signed, t.exponent) for t in (reader.types[p.source] for p in parts)}
    lines = [part.chain.line for part in parts]
    plain = all(line == lines[0] for line in lines) and min(lines[0].scale) > 0
    if len(kinds) > 1 or not plain:
        return value
    if isinstance(value, Pool):
        node = MaxPool2d(name=reader.free(name), input=parts[0].source, **value.window)
    elif max(len(lines[0].scale), len(lines[0].offset)) > 1:
        return value
    else:
        node = Concat(name=reader.free(name), operands=tuple(part.source for part in parts))
    return Leaf(reader.put(node), value.shape, Chain(line=lines[0]))


def settled(reader: Reader, what: str, value: Value, name: str) -> Leaf:
    """``value`` as an activation of the graph with a scale and an offset per channel.

    name : of a node that must be computed for that. Raises :class:`GraphError` if the node needs
    more than 16 bits.
    """
    known = reader.settled.get(id(value))
    if known is not None:
        return known[1]
    result = with_inputs(reader, what, value)
    if not _is_activation(reader, result):
        result = _exactly(reader, what, result, name, None)
    reader.settled[id(value)] = (value, result)
    return result


def activation(reader: Reader, what: str, value: Value, name: str) -> Leaf:
    """Like :func:`settled`, with one positive scale and no offset."""
    leaf = settled(reader, what, value, name)
    line = leaf.chain.line
    if len(line.scale) == 1 and line.scale[0] > 0 and line.offset == (0,):
        return leaf
    result = _exactly(reader, what, leaf, name, None)
    reader.settled[id(value)] = (value, result)
    return result


def labelled(reader: Reader, what: str, leaf: Leaf, name: str) -> Leaf:
    """``leaf``, an activation with one step, in a format whose exponent fits the step."""
    kind = reader.types[leaf.source]
    form = Format(leaf.chain.line.scale, kind.low, kind.high, kind.bits, kind.signed)
    return quantized(reader, what, leaf, form, "FLOOR", name, strict=True)


def _exactly(reader: Reader, what: str, value: Value, name: str, step: Fraction | None) -> Leaf:
    """``value`` in steps that hold all of its values exactly: the largest ones, or ``step``."""
    step = step or common_step(value)
    low, high = code_range(reader, what, value, step)
    leaves = _leaves(value)
    form = format_of((step,), low, high)
    if form.bits > ACT_BITS[1]:
        raise GraphError(
            f"{what}: input {name!r} must be the result of a Quant; its exact values take "
            f"{form.bits} bits, and at most {ACT_BITS[1]} are allowed"
        )
    kinds = [reader.types[leaf.source] for leaf in leaves]
    shared = {(kind.bits, kind.signed) for kind in kinds if not kind.is_accumulator}
    # The format that is there already is kept if it holds the values.
    one = len(shared) == 1 and of_activations(reader, value)
    if one and kinds[0].low <= low and high <= kinds[0].high:
        form = replace(form, bits=kinds[0].bits, signed=kinds[0].signed)
    return quantized(reader, what, value, form, "FLOOR", name)


def with_inputs(reader: Reader, what: str, value: Value) -> Value:
    """``value`` with codes for inputs that the model does not quantize."""
    if isinstance(value, Leaf):
        return input_codes(reader, what, value, None) if value.real else value
    if isinstance(value, Join):
        return Join(tuple(with_inputs(reader, what, part) for part in value.parts))
    return replace(value, inner=with_inputs(reader, what, value.inner))


def common_step(value: Value) -> Fraction:
    """The largest step of which all numbers, offsets and limits of ``value`` are multiples."""
    numbers = {
        abs(number)
        for leaf in _leaves(value)
        for column in (
            leaf.chain.line.scale,
            leaf.chain.line.offset,
            leaf.chain.line.low,
            leaf.chain.line.high,
        )
        for number in column
        if number
    } or {Fraction(1)}
    bottom = lcm(*(number.denominator for number in numbers))
    return Fraction(gcd(*(int(number * bottom) for number in numbers)), bottom)


def code_range(
    reader: Reader, what: str, value: Value, step: Fraction, mode: str = "FLOOR"
) -> tuple[int, int]:
    """Smallest and largest code of ``value`` in steps of ``step``."""
    if step <= 0 or step.numerator.bit_length() > 400 or step.denominator.bit_length() > 400:
        raise GraphError(f"{what}: values have no common step that could be held")
    if any(leaf.chain.function is not None for leaf in _leaves(value)):
        raise GraphError(f"{what}: a Quant must follow a function, so that it becomes a table")
    ends = []
    for leaf in _leaves(elementwise(what, value, "times", (1 / step,))):
        for channel in range(leaf.shape[0] if _per_channel(reader, leaf) else 1):
            chain = leaf.chain.round(mode, integers=True)
            ends += [code_of(chain, channel, end) for end in reader.interval(leaf.source, channel)]
    if _leaves(value) and isinstance(value, Pad):
        ends.append(0)
    return min(ends), max(ends)


def _per_channel(reader: Reader, leaf: Leaf) -> bool:
    lines = [*(rounding.line for rounding in leaf.chain.roundings), leaf.chain.line]
    lengths = [len(c) for line in lines for c in (line.scale, line.offset, line.low, line.high)]
    return max(lengths) > 1 or reader.intervals[leaf.source].low.size > 1
