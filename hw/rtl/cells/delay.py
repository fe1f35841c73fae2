"""Delays values by registers."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value

__all__ = ["delayed"]


def delayed(
    m: Module,
    names: Sequence[str],
    values: Sequence[Value],
    cycles: int,
    *,
    domain: str = "sync",
) -> tuple[Value, ...]:
    """The values of ``cycles`` cycles ago. Registers are named ``<name>_<stage>``."""
    for stage in range(cycles):
        registers = tuple(
            Signal(len(value), name=f"{name}_{stage}")
            for name, value in zip(names, values, strict=True)
        )
        m.d[domain] += [new.eq(old) for new, old in zip(registers, values, strict=True)]
        values = registers
    return tuple(values)
