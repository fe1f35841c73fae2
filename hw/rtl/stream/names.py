"""How the payload of a stream shows in the name of a module."""

from amaranth.hdl import Shape, ShapeLike

__all__ = ["shape_name"]


def shape_name(shape: ShapeLike) -> str:
    """``u8`` or ``s8``: payloads of equal width and signedness share a module."""
    shape = Shape.cast(shape)
    return f"{'s' if shape.signed else 'u'}{shape.width}"
