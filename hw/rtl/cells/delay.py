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
    far: bool = False,
) -> tuple[Value, ...]:
    """The values of ``cycles`` cycles ago. Registers are named ``<name>_<stage>``.

    ``far``: they have many loads. So the last register has a reset. Without one, tools may put all
    of them into a shift register of tables, which is slower.
    """
    for stage in range(cycles):
        registers = tuple(
            Signal(len(value), name=f"{name}_{stage}")
            for name, value in zip(names, values, strict=True)
        )
        last = stage == cycles - 1
        m.d["sync" if far and last else domain] += [
            new.eq(old) for new, old in zip(registers, values, strict=True)
        ]
        values = registers
    return tuple(values)
