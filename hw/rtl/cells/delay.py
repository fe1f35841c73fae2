"""Values as they were some cycles ago."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value

__all__ = ["delayed"]


def delayed(
    m: Module,
    names: Sequence[str],
    values: Sequence[Value],
    cycles: int,
    *,
    reset_less: bool = False,
) -> tuple[Value, ...]:
    """The values ``cycles`` cycles ago, through registers that have their names and a number."""
    for stage in range(cycles):
        registers = tuple(
            Signal(len(value), name=f"{name}_{stage}", reset_less=reset_less)
            for name, value in zip(names, values, strict=True)
        )
        m.d.sync += [new.eq(old) for new, old in zip(registers, values, strict=True)]
        values = registers
    return tuple(values)
