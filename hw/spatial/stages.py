"""An adder graph as logic, with registers behind every ``levels`` additions."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hw.rtl.cells.signed_total import SignedTotal
from hw.spatial.adders import AdderGraph, Addition, Term, interval_bits, lone_bits

__all__ = ["AdderStages"]


class AdderStages:
    """Puts the additions of a graph into ``m``.

    A value is made in the stage of its depth. Registers without a reset delay it to later stages.

    inputs : the words of the inputs, in two's complement where a value can be negative.
    levels : additions between registers.
    """

    def __init__(self, m: Module, graph: AdderGraph, inputs: Sequence[Value], levels: int):
        self.m = m
        self.graph = graph
        self.levels = levels
        #: (number of a value, stage) -> the value's bits in that stage.
        self._bits: dict[tuple[int, int], Value] = {}
        for number, word in enumerate(inputs):
            self._bits[number, 0] = word[: interval_bits(*graph.ranges[number])]
        for number, addition in enumerate(graph.additions, graph.inputs):
            self._add(number, addition)

    def at(self, number: int, stage: int) -> Value:
        """A value in a stage; a register for each stage since it was made."""
        if (number, stage) not in self._bits:
            before = self.at(number, stage - 1)
            register = Signal(len(before), name=f"v{number}_s{stage}", reset_less=True)
            self.m.d.sync += register.eq(before)
            self._bits[number, stage] = register
        return self._bits[number, stage]

    def _word(self, term: Term, stage: int, width: int, dropped: int) -> Value:
        """A term's bits from bit ``dropped`` upwards, ``width`` of them, not inverted yet.

        Bits below an inverted value are 1: their inverses are 0, as the term has them.
        """
        bits = self.at(term.value, stage)
        low, _ = self.graph.ranges[term.value]
        top = bits[-1] if low < 0 and len(bits) else Const(0, 1)
        fill = Const((1 << term.shift) - 1 if term.inverted else 0, term.shift)
        word = Cat(fill, bits)
        word = Cat(word, top.replicate(max(0, dropped + width - len(word))))
        return word[dropped : dropped + width]

    def _add(self, number: int, addition: Addition) -> None:
        # Inputs are there in stage 0.
        stage = max(0, self.graph.depths[number] - 1) // self.levels
        width = interval_bits(*self.graph.ranges[number])
        # Where terms are always 0, the sum may be narrower than the low bits of one term alone.
        alone = min(lone_bits(addition), width)
        lowest = min(addition.terms, key=lambda term: term.shift)
        own = self._word(lowest, stage, alone, 0) if alone else Const(0, 0)
        value = Signal(width, name=f"v{number}")
        self.m.d.comb += value.eq(Cat(own, self._total(number, addition, stage, width, alone)))
        self._bits[number, stage] = value

    def _total(self, number: int, addition: Addition, stage: int, width: int, alone: int) -> Value:
        """The sum's bits above the low bits of one term alone."""
        rest = width - alone
        if not rest:
            return Const(0, 0)
        plain = [self._word(t, stage, rest, alone) for t in addition.terms if not t.inverted]
        if addition.constant:
            plain.append(Const(addition.constant, rest))
        inverted = [self._word(t, stage, rest, alone) for t in addition.terms if t.inverted]
        cell = SignedTotal(width=rest, plain=len(plain), inverted=len(inverted))
        self.m.submodules[f"add_{number}"] = cell
        self.m.d.comb += cell.terms.eq(Cat(*plain, *inverted))
        return cell.total
