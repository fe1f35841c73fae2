"""Processing elements as netlists, and what goes into them while they compute a layer."""

from dataclasses import dataclass

import numpy as np

from hw.contract.timing import pe_latency
from hw.rtl.array.svpe import ProcessingElement, Svpe, Vpe
from hw.rtl.ultrascale.elements import UltrascaleSvpe, UltrascaleVpe
from hw.rtl.verilog import emit
from hw.synth.mapping import passes_netlist
from nbqnn_train.graph import packing
from sim.switching.activity import count_toggles
from sim.switching.netlist import SwitchedNetlist, switched_netlist

__all__ = ["FORMS", "Element", "Steps", "Switching", "element_netlist", "switching"]

_GATES = "AND,NAND,OR,NOR,XOR,XNOR,MUX"
#: Form of a netlist -> Yosys' passes; ``{}`` is the module. Tables: those of UltraScale+, in which
#: multipliers too are tables and carry chains. Gates: of two inputs, and registers without enable.
FORMS = {
    "tables": ("synth_xilinx -family xcup -noiopad -noclkbuf -flatten -nodsp -top {}",),
    "gates": (
        "synth -flatten -top {}",
        "dfflegalize -cell $_DFF_P_ 01",
        f"abc -g {_GATES}",
        "opt_clean -purge",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Element:
    """A processing element.

    kind : "shift" or "multiply". A multiplier takes weights of ``act_bits``.
    lanes : products that it adds in a step.
    act_bits, weight_bits, acc_bits : widths of activations, weights and the sum.
    """

    kind: str
    lanes: int
    act_bits: int
    weight_bits: int
    acc_bits: int

    @property
    def stored_bits(self) -> int:
        """Bits of a weight's code."""
        return self.weight_bits if self.kind == "shift" else self.act_bits

    @property
    def latency(self) -> int:
        """Cycles from an output's last step to the output."""
        return pe_latency(self.lanes)

    def component(self, *, explicit: bool) -> ProcessingElement:
        """The element's circuit; ``explicit``: in cells of UltraScale+ where there are such."""
        kinds = {"shift": (Svpe, UltrascaleSvpe), "multiply": (Vpe, UltrascaleVpe)}
        return kinds[self.kind][explicit](
            lanes=self.lanes,
            act_bits=self.act_bits,
            weight_bits=self.weight_bits,
            stored_bits=self.stored_bits,
            acc_bits=self.acc_bits,
        )


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Steps of an element, one after the other without a gap.

    act : (steps, lanes), stored codes. weight : (steps, lanes), factors: 0 or signed powers of two
        for shifts, any numbers for multipliers. last : (steps,), the step ends an output.
    """

    act: np.ndarray
    weight: np.ndarray
    last: np.ndarray

    @property
    def sums(self) -> np.ndarray:
        """The outputs: sums of products, int64."""
        total = np.cumsum((self.act * self.weight).sum(axis=1))[self.last]
        return np.diff(total, prepend=0)

    @property
    def negatives(self) -> np.ndarray:
        """How many weights of each output are negative."""
        return np.diff(np.cumsum((self.weight < 0).sum(axis=1))[self.last], prepend=0)


@dataclass(frozen=True, kw_only=True)
class Switching:
    """Changes of nets, for each step and lane: each net with as many as the pins that it drives.

    nets : of all nets but the clock. clock : of the clock, twice a cycle at each register.
    """

    nets: float
    clock: float


def element_netlist(element: Element, form: str) -> SwitchedNetlist:
    """The element in one of :data:`FORMS`."""
    component = element.component(explicit=form == "tables")
    passes = [line.format(component.module_name) for line in FORMS[form]]
    netlist = passes_netlist(emit(component), component.module_name, passes)
    return switched_netlist(netlist["modules"][component.module_name], "acc")


def switching(element: Element, netlist: SwitchedNetlist, steps: Steps) -> Switching:
    """Counts the changes in an element that takes ``steps``.

    Raises :exc:`AssertionError` if its outputs are not the sums of products.
    """
    count = len(steps.act)
    idle = element.latency + 1

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], idle, axis=0)])

    valid = np.arange(count + idle) < count
    last = padded(steps.last) & valid
    shifts = element.kind == "shift"
    codes = steps.weight
    if shifts:
        codes = packing.stored_weights(steps.weight, element.weight_bits)
    inputs = {
        "valid": valid[:, None],
        "first": np.roll(padded(steps.last), 1)[:, None],
        "last": last[:, None],
        "act": _bits(padded(steps.act), element.act_bits),
        "weight": _bits(padded(codes), element.stored_bits),
    }
    inputs["first"][0] = True
    found = count_toggles(netlist, inputs)
    ends = np.flatnonzero(last)
    mask = (1 << element.acc_bits) - 1
    expected = (steps.sums - (steps.negatives if shifts else 0)) & mask
    outputs = found.outputs[ends + element.latency].astype(np.int64)
    assert (outputs == expected).all(), f"{element.kind}: outputs must be the sums of products"
    per = count * element.lanes
    weighed = sum(found.toggles[net] * pins for net, pins in netlist.pins.items())
    return Switching(nets=weighed / per, clock=2 * netlist.registers * len(valid) / per)


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """(cycles, fields) -> (cycles, fields * width), lowest bit first, two's complement."""
    bits = (values.astype(np.int64)[..., None] >> np.arange(width)) & 1
    return bits.astype(np.uint8).reshape(len(values), -1)
