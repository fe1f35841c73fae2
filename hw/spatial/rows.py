"""A node of the graph with the requantizer behind it, written as rows of weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.spatial.digit_serial import DigitSerialPlan
from hw.spatial.folded import FoldedPlan
from hw.spatial.layer import DensePlan
from hw.spatial.rounding import Rounding
from hw.spatial.sharing import adder_graph
from nbqnn_train.graph import Clip, Requantize

__all__ = ["Rows", "clipped", "identity", "requantized", "window_rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """``clip((multiplier * (weight @ in) + constant) >> shift, low, high)``, row by row.

    weight : (rows, inputs), each 0 or a signed power of two.
    multipliers, constants : one for each row.
    """

    weight: np.ndarray
    multipliers: tuple[int, ...]
    constants: tuple[int, ...]
    roundings: tuple[Rounding, ...]

    def _odd(self) -> tuple[np.ndarray, list[int]]:
        """Weights times the multipliers' powers of two (wiring), and the multipliers' odd parts."""
        powers = [multiplier & -multiplier for multiplier in self.multipliers]
        odd = [m // power for m, power in zip(self.multipliers, powers, strict=True)]
        return self.weight * np.array(powers)[:, np.newaxis], odd

    def plan(
        self,
        name: str,
        in_bits: Sequence[int],
        ranges: Sequence[tuple[int, int]],
        out_bits: int,
        levels: int,
    ) -> DensePlan:
        """The circuit for inputs of ``in_bits`` bits and with ``ranges`` (smallest, largest)."""
        weight, odd = self._odd()
        return DensePlan(
            name=name,
            graph=adder_graph(weight, ranges, self.constants, odd),
            constants=self.constants,
            in_bits=tuple(in_bits),
            roundings=self.roundings,
            out_bits=out_bits,
            levels=levels,
        )

    def digit_serial(
        self,
        name: str,
        bits: int,
        signed: bool,
        cycles: int,
        out_bits: int,
        levels: int,
        held: bool,
    ) -> DigitSerialPlan:
        """The circuit for inputs of ``bits`` bits that come at least ``cycles`` cycles apart."""
        weight, odd = self._odd()
        digit = -(-bits // cycles)
        ranges = [(0, (1 << digit) - 1)] * weight.shape[1]
        sums = weight.sum(axis=1)
        return DigitSerialPlan(
            name=name,
            graph=adder_graph(weight, ranges, None, odd),
            constants=self.constants,
            gains=tuple(int(total) * m for total, m in zip(sums, odd, strict=True)),
            words=weight.shape[1],
            bits=bits,
            signed=signed,
            digits=-(-bits // digit),
            digit_bits=digit,
            roundings=self.roundings,
            out_bits=out_bits,
            levels=levels,
            held=held,
        )

    def folded(
        self,
        name: str,
        bits: int,
        signed: bool,
        turns: int,
        out_bits: int,
        levels: int,
        held: bool,
    ) -> FoldedPlan | None:
        """The circuit for inputs of ``bits`` bits that come ``turns * bits`` cycles apart or more.

        None where multipliers are no powers of two: there is nothing to multiply with.
        """
        weight, odd = self._odd()
        if any(multiplier != 1 for multiplier in odd):
            return None
        return FoldedPlan(
            name=name,
            weight=weight,
            constants=self.constants,
            roundings=self.roundings,
            bits=bits,
            signed=signed,
            turns=turns,
            out_bits=out_bits,
            levels=levels,
            held=held,
        )


def requantized(weight: np.ndarray, factor: int, node: Requantize) -> Rows:
    """The rows of ``factor * (weight @ in)`` with a requantizer behind it."""
    multipliers, constants, roundings = [], [], []
    for multiplier, bias, shift in zip(node.multiplier, node.bias, node.shift, strict=True):
        multiplier, shift = int(multiplier) * factor, int(shift)
        # floor((sum * 2**p + c) / 2**shift) is floor((sum + floor(c / 2**p)) / 2**(shift - p)).
        left = min((multiplier & -multiplier).bit_length() - 1, shift)
        constant = int(bias) + ((1 << shift) >> 1)
        multipliers.append(multiplier >> left)
        constants.append(constant >> left)
        roundings.append(Rounding(shift - left, node.low, node.high))
    return Rows(weight, tuple(multipliers), tuple(constants), tuple(roundings))


def clipped(node: Clip, words: int) -> Rows:
    """The rows that clip each of ``words`` words."""
    ones = (1,) * words
    return Rows(identity(words), ones, (0,) * words, (Rounding(0, node.low, node.high),) * words)


def identity(words: int, places: Sequence[int] = (1,)) -> np.ndarray:
    """Weights of an operand-wise sum: output c adds words c of all operands, times ``places``."""
    return np.concatenate([place * np.eye(words, dtype=np.int64) for place in places], axis=1)


def window_rows(weight: np.ndarray, groups: int) -> np.ndarray:
    """Weights (Cout, Cin / groups, KH, KW) as (Cout, KH * KW * Cin)."""
    outputs, inside, height, width = weight.shape
    full = np.zeros((outputs, height, width, inside * groups), np.int64)
    of_group = outputs // groups
    for group in range(groups):
        rows = slice(group * of_group, (group + 1) * of_group)
        columns = slice(group * inside, (group + 1) * inside)
        full[rows, :, :, columns] = weight[rows].transpose(0, 2, 3, 1)
    return full.reshape(outputs, -1)
