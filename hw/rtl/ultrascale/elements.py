"""Processing elements as explicit tables and carry chains of UltraScale+.

Registers and results are those of :mod:`hw.rtl.array.svpe`, with fewer tables: a row of tables with
its carry chain adds three numbers, not two, and two functions of few inputs share a table.
Synthesis finds neither by itself. These modules take the place of those with the same names when
Verilog is written for UltraScale+; simulators and other families read the originals.
"""

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.array.accumulation import Accumulating
from hw.rtl.array.cascade import CascadeSum
from hw.rtl.array.svpe import Svpe, Vpe
from hw.rtl.array.taps import TapSvpe
from hw.rtl.component import Component
from hw.rtl.ultrascale.tables import BitFunction, carry_chain, dual_table, place_tables

__all__ = [
    "Accumulation",
    "LaneProduct",
    "SignedSum",
    "Sum",
    "UltrascaleCascadeSum",
    "UltrascaleSvpe",
    "UltrascaleTapSvpe",
    "UltrascaleVpe",
]

#: Wider weights shift in stages, one for each bit of the index.
_DIRECT_WEIGHT_BITS = 3


class LaneProduct(Component):
    """The product of one lane: an activation times a power of two, or zero; no registers.

    Weights of up to three bits select in one level of tables. Wider ones shift in stages, by one,
    two, four and so on, with two bits in each table.

    Parameters
    ----------
    act_bits, weight_bits : int
    offset : bool
        Invert the product's top bit, which adds half its range.

    Members
    -------
    act : ``In(act_bits)``, weight : ``In(weight_bits)``, product : ``Out``, as in :class:`Svpe`
    """

    def __init__(self, *, act_bits: int, weight_bits: int, offset: bool):
        self.act_bits = act_bits
        self.weight_bits = weight_bits
        self.offset = offset
        self.width = act_bits + (1 << (weight_bits - 1)) - 2
        super().__init__({
            "act": In(act_bits), "weight": In(weight_bits), "product": Out(self.width)
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        if self.weight_bits <= _DIRECT_WEIGHT_BITS:
            self._select(m)
        else:
            self._shift(m)
        return m

    def _inverted(self, bit: int) -> int:
        """1 if this bit of a positive weight's product is inverted, else 0."""
        return int(self.offset and bit == self.width - 1)

    def _select(self, m: Module) -> None:
        """One table for each bit of the product; the index selects among activation bits."""
        index_bits = self.weight_bits - 1
        weights = {f"weight{i}": self.weight[i] for i in range(self.weight_bits)}
        functions = []
        for bit in range(self.width):
            # The weight's index -> the activation's bit that it selects.
            sources = {
                index: min(bit - index + 1, self.act_bits - 1)
                for index in range(1, 1 << index_bits)
                if bit - index + 1 >= 0
            }

            def value(values, bit=bit, sources=sources):
                index = sum(values[f"weight{i}"] << i for i in range(index_bits))
                chosen = values[f"act{sources[index]}"] if index in sources else 0
                return chosen ^ values[f"weight{index_bits}"] ^ self._inverted(bit)

            acts = {f"act{source}": self.act[source] for source in sources.values()}
            functions.append(BitFunction(self.product[bit], acts | weights, value))
        place_tables(m, "bit", functions)

    def _shift(self, m: Module) -> None:
        """Shifts by the index, stage by stage; the result without its lowest bit is the product."""
        index_bits = self.weight_bits - 1
        weights = {f"weight{i}": self.weight[i] for i in range(index_bits)}
        nonzero = Signal()
        value, shifted = self.act, Signal(self.act_bits + 1, name="stage_0")

        def lowest(values):
            return values["act0"] & ~values["weight0"] & int(any(values[name] for name in weights))

        # The lowest bit does not depend on `nonzero`, so that the two share a table.
        place_tables(
            m,
            "lowest",
            [
                BitFunction(
                    nonzero, weights, lambda values: int(any(values[name] for name in weights))
                ),
                BitFunction(shifted[0], {"act0": self.act[0]} | weights, lowest),
            ],
        )
        for stage in range(index_bits):
            last, shift = stage == index_bits - 1, 1 << stage
            top = len(value) - 1
            functions = []
            for bit in range(int(stage == 0 or last), len(value) + shift):
                stays, moves = min(bit, top), min(bit - shift, top)
                if stays == moves and stage and not last:
                    m.d.comb += shifted[bit].eq(value[top])
                    continue
                inputs = {f"from{i}": value[i] for i in (stays, moves) if i >= 0}
                inputs["move"] = self.weight[stage]
                if stage == 0:
                    inputs["nonzero"] = nonzero
                if last:
                    inputs["sign"] = self.weight[-1]

                def chosen(values, stays=stays, moves=moves, stage=stage, bit=bit, last=last):
                    source = moves if values["move"] else stays
                    result = values[f"from{source}"] if source >= 0 else 0
                    if stage == 0:
                        result &= values["nonzero"]
                    if last:
                        result ^= values["sign"] ^ self._inverted(bit - 1)
                    return result

                functions.append(BitFunction(shifted[bit - last], inputs, chosen))
            place_tables(m, f"stage_{stage}", functions)
            value = shifted
            if not last:
                final = stage + 2 == index_bits
                width = len(value) + (shift << 1)
                shifted = self.product if final else Signal(width, name=f"stage_{stage + 1}")


class _Operand:
    """One number to add, as inputs of tables.

    Parameters
    ----------
    name : name of its bits
    value : its bits
    inverted : the top bit is inverted
    gate : a bit that makes the number zero
    ones_from : all bits from this one upwards are set
    extended : the top bit, a sign, stands for those above it
    """

    def __init__(self, name, value, *, inverted=False, gate=None, ones_from=None, extended=False):
        self._name = name
        self._value = value
        self._inverted = inverted
        self._gate = gate
        self._ones_from = ones_from
        self._extended = extended

    def at(self, bit: int):
        """Inputs and function of one bit of the number; ``None`` if the bit is always zero."""
        if self._extended:
            bit = min(bit, len(self._value) - 1)
        if bit >= len(self._value):
            if self._ones_from is None or bit < self._ones_from:
                return None
            return {}, lambda values: 1
        name, gated = f"{self._name}{bit}", self._gate is not None
        inverted = self._inverted and bit == len(self._value) - 1
        inputs = {name: self._value[bit]}
        if gated:
            inputs["gate"] = self._gate
        return inputs, lambda values: (values[name] ^ inverted) & ~(gated and values["gate"]) & 1


def _add(m: Module, operands: list[_Operand], total: Signal) -> None:
    """Adds two or three numbers, one table per bit.

    A bit's operands have a sum (their XOR) and a carry (their majority). The carry chain adds the
    row of sums and the row of carries. A table computes its bit's carry, and for the chain the XOR
    of its bit's sum and the carry of the bit below.
    """
    width = len(total)
    select, below_bits = [], []
    below = None
    for bit in range(width):
        present = [found for operand in operands if (found := operand.at(bit))]
        inputs = {name: value for own, _ in present for name, value in own.items()}
        functions = [function for _, function in present]
        if below is not None:
            inputs["below"] = below

        def parity(values, functions=functions, carried=below is not None):
            ones = sum(function(values) for function in functions)
            return (ones + (values["below"] if carried else 0)) & 1

        def majority(values, functions=functions):
            return int(sum(function(values) for function in functions) >= 2)

        if not inputs:
            break
        select.append(Signal(name=f"select_{bit}"))
        below_bits.append(Const(0, 1) if below is None else below)
        o6 = BitFunction(select[-1], inputs, parity)
        if len(functions) >= 2 and bit + 1 < width:
            below = Signal(name=f"majority_{bit}")
            own = {name: value for name, value in inputs.items() if name != "below"}
            dual_table(m, f"bit_{bit}", o6, BitFunction(below, own, majority))
        else:
            below = None
            place_tables(m, f"bit_{bit}", [o6])
    sums, carry = carry_chain(m, Cat(*select), Cat(*below_bits))
    m.d.comb += total.eq(Cat(sums, carry))


class Sum(Component):
    """The sum of two or three numbers; logic without registers, one table per bit.

    Parameters
    ----------
    terms : tuple of Shape
        The widest first. Half their range is added to signed ones.
    width : int
        Bits of the sum, at most as many as it needs.

    Members
    -------
    term_0, term_1, term_2 : ``In``, total : ``Out(width)``
    """

    def __init__(self, *, terms: tuple[Shape, ...], width: int):
        self.terms = terms
        self.width = width
        members = {f"term_{i}": In(term.width) for i, term in enumerate(terms)}
        super().__init__(members | {"total": Out(width)})

    def build(self) -> Module:
        m = Module()
        operands = [
            _Operand(f"term{i}_", getattr(self, f"term_{i}"), **self._signs(term))
            for i, term in enumerate(self.terms)
        ]
        _add(m, operands, self.total)
        return m

    def _signs(self, term: Shape) -> dict[str, bool]:
        """How a term's highest bit counts."""
        return {"inverted": term.signed}


class SignedSum(Sum):
    """The sum of two or three signed numbers; logic without registers, one table per bit.

    Parameters
    ----------
    terms : tuple of Shape
    width : int
        Bits of the sum, a signed number.

    Members
    -------
    term_0, term_1, term_2 : ``In``, total : ``Out(width)``
    """

    def _signs(self, term: Shape) -> dict[str, bool]:
        return {"extended": True}


class Accumulation(Component):
    """A running sum (0 at the first step) plus two terms less ``2**exponent``; no registers.

    Parameters
    ----------
    terms : two of Shape
        Half their range is added to signed ones. The second has at most ``exponent`` bits.
    exponent : int
    acc_bits : int
        The result is modulo ``2**acc_bits``.

    Members
    -------
    running : ``In(acc_bits)``, first : ``In(1)``, term_0, term_1 : ``In``
    total : ``Out(acc_bits)``
    """

    def __init__(self, *, terms: tuple[Shape, ...], exponent: int, acc_bits: int):
        self.terms = terms
        self.exponent = exponent
        self.acc_bits = acc_bits
        members = {f"term_{i}": In(term.width) for i, term in enumerate(terms)}
        super().__init__(
            {"running": In(acc_bits), "first": In(1)} | members | {"total": Out(acc_bits)}
        )

    def build(self) -> Module:
        m = Module()
        wide, narrow = (term.signed for term in self.terms)
        operands = [
            _Operand("running", self.running, gate=self.first),
            _Operand("wide", self.term_0, inverted=wide),
            # Setting all bits from there upwards subtracts the power of two.
            _Operand("narrow", self.term_1, inverted=narrow, ones_from=self.exponent),
        ]
        _add(m, operands, self.total)
        return m


def _shapes(terms: list[Value]) -> tuple[Shape, ...]:
    return tuple(term.shape() for term in terms)


class _UltrascaleElement(Accumulating):
    """Sums and accumulator as explicit cells."""

    def _sum(self, m, name, terms, width):
        terms = sorted(terms, key=len, reverse=True)
        cell = Sum(terms=_shapes(terms), width=width)
        m.submodules[f"add_{name}"] = cell
        m.d.comb += [getattr(cell, f"term_{i}").eq(term) for i, term in enumerate(terms)]
        return cell.total

    def _accumulate(self, m, running, first, terms, exponent):
        if len(terms) == 1:
            # Synthesis adds two operands as well by itself.
            return super()._accumulate(m, running, first, terms, exponent)
        cell = Accumulation(terms=_shapes(terms), exponent=exponent, acc_bits=self.acc_bits)
        m.submodules.accumulation = cell
        m.d.comb += [cell.running.eq(running), cell.first.eq(first)]
        m.d.comb += [getattr(cell, f"term_{i}").eq(term) for i, term in enumerate(terms)]
        return cell.total


class UltrascaleSvpe(_UltrascaleElement, Svpe, replaces=Svpe):
    """:class:`Svpe` in explicit cells."""

    def _product(self, m, lane, act, weight):
        cell = LaneProduct(
            act_bits=self.act_bits,
            weight_bits=self.weight_bits,
            offset=not self.product_shape.signed,
        )
        m.submodules[f"lane_{lane}"] = cell
        m.d.comb += [cell.act.eq(act), cell.weight.eq(weight)]
        return cell.product.as_signed() if self.product_shape.signed else cell.product


class UltrascaleTapSvpe(UltrascaleSvpe, TapSvpe, replaces=TapSvpe):
    """:class:`TapSvpe` in explicit cells."""

    def _summed(self, m, products):
        cell = SignedSum(terms=_shapes(products), width=self.term_shape.width)
        m.submodules.add_taps = cell
        m.d.comb += [getattr(cell, f"term_{i}").eq(term) for i, term in enumerate(products)]
        return cell.total.as_signed()


class UltrascaleCascadeSum(_UltrascaleElement, CascadeSum, replaces=CascadeSum):
    """:class:`CascadeSum` with its additions in explicit cells."""


class UltrascaleVpe(_UltrascaleElement, Vpe, replaces=Vpe):
    """:class:`Vpe` with its additions in explicit cells."""
