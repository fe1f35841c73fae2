"""Look-up tables and carry chains of UltraScale+ as explicit cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

from amaranth.hdl import Const, Instance, Module, Value

from hw.rtl.ultrascale.carry import CarryChain

__all__ = ["BitFunction", "carry_chain", "dual_table", "place_tables"]

#: Inputs of a table that gives two outputs, ``O5`` and ``O6``.
_DUAL_INPUTS = 5


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
    """Adds a :class:`CarryChain`; returns the sum's bits and the carry out of the highest one.

    ``carry_in`` goes into the lowest bit; None is 0.
    """
    chain = CarryChain(width=len(select))
    m.submodules.chain = chain
    m.d.comb += [
        chain.select.eq(select),
        chain.carry.eq(carry),
        chain.carry_in.eq(Const(0, 1) if carry_in is None else carry_in),
    ]
    return chain.total, chain.carry_out
