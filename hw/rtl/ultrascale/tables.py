"""Look-up tables and carry chains of UltraScale+ as explicit cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

__all__ = ["BitFunction", "carry_chain", "dual_table", "place_tables"]

#: Inputs of a table that gives two outputs, ``O5`` and ``O6``.
_DUAL_INPUTS = 5
#: Bits of one carry cell.
_CHAIN_BITS = 8


@dataclass(frozen=True, eq=False)
class BitFunction:
    """One output bit as a function of a few others.

    output : the bit to drive
    inputs : name -> bit; equal names are the same bit
    function : takes name -> value of the inputs, returns 0 or 1
    """

    output: Value
    inputs: Mapping[str, Value]
    function: Callable[[Mapping[str, int]], int]

    def truth(self, names: tuple[str, ...]) -> int:
        """The truth table over ``names``, which include all inputs; the first is the lowest bit."""
        table = 0
        for index, bits in enumerate(product((0, 1), repeat=len(names))):
            values = dict(zip(reversed(names), bits, strict=True))
            table |= self.function(values) << index
        return table


def dual_table(m: Module, name: str, o6: BitFunction, o5: BitFunction) -> None:
    """One LUT6_2 for both functions, which have at most five different inputs together."""
    inputs = {**o5.inputs, **o6.inputs}
    names = tuple(inputs) + tuple(f"unused{i}" for i in range(_DUAL_INPUTS - len(inputs)))
    m.submodules[name] = Instance(
        "LUT6_2",
        p_INIT=Const(o6.truth(names) << 32 | o5.truth(names), 64),
        **{f"i_I{i}": inputs.get(input_, Const(0, 1)) for i, input_ in enumerate(names)},
        i_I5=Const(1, 1),
        o_O5=o5.output,
        o_O6=o6.output,
    )


def _single_table(m: Module, name: str, function: BitFunction) -> None:
    """One table for a function of one to six inputs."""
    names = tuple(function.inputs)
    m.submodules[name] = Instance(
        f"LUT{len(names)}",
        p_INIT=Const(function.truth(names), 1 << len(names)),
        **{f"i_I{i}": bit for i, bit in enumerate(function.inputs.values())},
        o_O=function.output,
    )


def place_tables(m: Module, name: str, functions: list[BitFunction]) -> None:
    """Places nearly the fewest tables for functions of at most six inputs each.

    Two functions share a table if they have at most five inputs together. Functions that fit with
    the fewest others are paired first.
    """
    left = dict(enumerate(functions))

    def partners(index: int) -> list[int]:
        own = left[index].inputs.keys()
        return [
            other
            for other in left
            if other != index and len(own | left[other].inputs.keys()) <= _DUAL_INPUTS
        ]

    number = 0
    while left:
        fitting = {index: partners(index) for index in left}
        choices = [index for index in left if fitting[index]] or list(left)
        index = min(choices, key=lambda index: len(fitting[index]))
        others = fitting[index]
        cell = f"{name}_{number}"
        if others:
            other = min(others, key=lambda index: len(fitting[index]))
            dual_table(m, cell, left.pop(index), left.pop(other))
        else:
            _single_table(m, cell, left.pop(index))
        number += 1


def carry_chain(
    m: Module, select: Value, carry: Value, carry_in: Value | None = None
) -> tuple[Value, Value]:
    """Places CARRY8 cells; returns the sum's bits and the carry out of the highest one.

    Bit i of the sum is ``select[i]`` xor the carry into it. The carry out of it is the carry into
    it if ``select[i]`` is set, else ``carry[i]``. ``carry_in`` goes into the lowest bit; None is 0.
    """
    sums = []
    carry_in = Const(0, 1) if carry_in is None else carry_in
    for start in range(0, len(select), _CHAIN_BITS):
        part, part_carry = select[start : start + _CHAIN_BITS], carry[start : start + _CHAIN_BITS]
        total = Signal(_CHAIN_BITS, name=f"total_{start}")
        carries = Signal(_CHAIN_BITS, name=f"carries_{start}")
        m.submodules[f"chain_{start}"] = Instance(
            "CARRY8",
            i_CI=carry_in,
            i_CI_TOP=Const(0, 1),
            i_S=Cat(part, Const(0, _CHAIN_BITS - len(part))),
            i_DI=Cat(part_carry, Const(0, _CHAIN_BITS - len(part))),
            o_O=total,
            o_CO=carries,
        )
        sums.append(total[: len(part)])
        carry_in = carries[len(part) - 1]
    return Cat(*sums), carry_in
