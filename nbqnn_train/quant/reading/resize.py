"""Reads operators that resize maps: nearest and linear interpolation."""

from torch import fx

from nbqnn_train.quant.reading.arranging import gathered, indices
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Value, canonical

__all__ = []

_LINEAR = (1, 2, 4, 8, 16)


def _ratio(node: fx.Node, value: Value, arguments: dict) -> tuple[float, ...]:
    """Sizes after divided by sizes before. Factors that are stated must be equal to that."""
    after = tuple(node.meta["val"].shape[2:])
    ratio = tuple(a / b for a, b in zip(after, value.shape[1:], strict=True))
    stated = arguments.get("scale_factors") or [
        found for name, found in arguments.items() if name.startswith("scales") and found
    ]
    if any(abs(a - b) > 1e-9 for a, b in zip(ratio, stated, strict=False)):
        raise _fraction(value, after)
    return ratio


def _fraction(value: Value, after: tuple[int, ...]) -> Unsupported:
    before, after = (" x ".join(map(str, sizes)) for sizes in (value.shape[1:], after))
    return Unsupported(
        f"a resize by a fraction, from {before} to {after}",
        "enlarge by an integer, with nearest, or by 2, 4, 8 or 16, bilinear",
        "shape",
    )


@rule(
    "upsample_nearest2d",
    "upsample_nearest1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact1d",
)
def _nearest(reader: Reader, node: fx.Node, operand, **arguments) -> Value:
    value = reader.value(operand)
    ratio = _ratio(node, value, arguments)
    base = tuple(node.meta["val"].shape[1:])
    if base == value.shape:
        return value
    if all(r == int(r) for r in ratio):
        return _repeated(reader, node, value, ratio)
    if not all(1 / r == int(1 / r) for r in ratio):
        raise _fraction(value, base[1:])
    places = indices(value)[None].double()
    smaller = node.target(places, *node.args[1:], **node.kwargs)[0].long()
    return gathered(reader, value, smaller)


def _repeated(reader: Reader, node: fx.Node, value: Value, ratio: tuple[float, ...]) -> Value:
    """Every pixel so many times along each axis."""
    value = reader.map(value)
    factor = tuple(int(r) for r in ratio)
    factor = factor if len(factor) == 2 else (1, *factor)
    base = tuple(node.meta["val"].shape[1:])
    return reader.emit(node, "upsample", (value.name,), canonical(base), base=base, factor=factor)


@rule("upsample_bilinear2d", "upsample_linear1d")
def _linear(reader: Reader, node: fx.Node, operand, align_corners, **arguments) -> Value:
    value = reader.value(operand)
    ratio = _ratio(node, value, arguments)
    base = tuple(node.meta["val"].shape[1:])
    if base == value.shape:
        return value
    if all(size == 1 or r == 1 for size, r in zip(value.shape[1:], ratio, strict=True)):
        return _repeated(reader, node, value, ratio)  # between equal pixels lies the same
    value = reader.map(value)
    if align_corners:
        raise Unsupported(
            "linear interpolation with align_corners", "train with align_corners=False"
        )
    ratio = ratio if len(ratio) == 2 else (1.0, *ratio)
    held = canonical(base)
    if all(r in (1, 0.5) for r in ratio):  # the mean of two neighbours
        kernel = tuple(round(1 / r) for r in ratio)
        return reader.emit(
            node,
            "avg_pool",
            (value.name,),
            held,
            base=base,
            kernel=kernel,
            stride=kernel,
            padding=(0, 0, 0, 0),
        )
    if not all(r in _LINEAR for r in ratio):
        if all(r == int(r) for r in ratio):
            factors = " x ".join(str(int(r)) for r in ratio)
            raise Unsupported(
                f"a bilinear resize by {factors}",
                "enlarge by 2, 4, 8 or 16, or with nearest",
                "shape",
            )
        raise _fraction(value, base[1:])
    factor = tuple(int(r) for r in ratio)
    return reader.emit(node, "bilinear", (value.name,), held, base=base, factor=factor)
