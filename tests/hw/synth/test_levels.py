"""Levels between registers, in netlists small enough to count by eye."""

from dataclasses import replace

import pytest

from hw.contract.config import AcceleratorConfig
from hw.rtl.control.walker import PositionWalker
from hw.rtl.verilog import emit
from hw.synth.levels import MAX_CHAIN_BITS, MAX_LEVELS, logic_levels
from hw.synth.mapping import mapped_netlist
from scripts.levels import accelerator_levels
from tests.nightly import NIGHTLY

COMPONENTS = {"": "top", "part": "adder"}


class Netlist:
    """Builds what Yosys' ``write_json`` would write of one module."""

    def __init__(self):
        self.cells, self.names = {}, {}

    def net(self, name, width=1, register=False):
        first = 2 + sum(len(info["bits"]) for info in self.names.values())
        bits = list(range(first, first + width))
        self.names[name] = {"bits": bits, "attributes": {"init": "x"} if register else {}}
        return bits

    def cell(self, type_, inputs, outputs, **parameters):
        directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
        self.cells[f"cell{len(self.cells)}"] = {
            "type": type_,
            "port_directions": directions,
            "connections": inputs | outputs,
            "parameters": parameters,
        }

    def register(self, name):
        """(D, Q) of a flip-flop named so."""
        d, q = self.net(f"d_of_{name}"), self.net(name, register=True)
        self.cell("FDRE", {"C": ["0"], "D": d, "CE": ["1"], "R": ["0"]}, {"Q": q})
        return d, q

    def table(self, inputs, output, init):
        ports = {f"I{i}": bits for i, bits in enumerate(inputs)}
        init = f"{init:0{1 << len(inputs)}b}"
        self.cell(f"LUT{len(inputs)}", ports, {"O": output}, INIT=init)

    def levels(self):
        module = {"ports": {}, "cells": self.cells, "netnames": self.names}
        return logic_levels({"modules": {"top": module}}, "top", COMPONENTS)


def test_tables_in_a_row_are_levels():
    netlist = Netlist()
    _, a = netlist.register("a")
    d, _ = netlist.register("part.b")
    middle = netlist.net("middle")
    netlist.table([a, a], middle, 0b1000)
    netlist.table([middle, a], d, 0b0110)
    component, *others = netlist.levels()
    assert (component.component, component.levels, component.chains) == ("adder", 2, 0)
    assert (component.start, component.end) == ("a", "part.b")
    assert component.within_limits
    assert [other.levels for other in others] == [0]


def test_an_input_that_a_table_ignores_is_no_path():
    netlist = Netlist()
    _, a = netlist.register("a")
    d, _ = netlist.register("part.b")
    middle = netlist.net("middle")
    netlist.table([a, a], middle, 0b1000)
    # The second input alone.
    netlist.table([middle, a], d, 0b1100)
    assert netlist.levels()[0].levels == 1


def test_a_carry_chain_is_one_level_however_many_cells_it_has():
    netlist = Netlist()
    _, a = netlist.register("a")
    d, _ = netlist.register("part.sum")
    select, carry = netlist.net("select"), ["0"]
    netlist.table([a], select, 0b01)
    for part in range(2):
        last = part == 1
        sums, carries = netlist.net(f"sums{part}", 8), netlist.net(f"carries{part}", 8)
        if last:
            # Five bits of the second cell are in use.
            sums[4] = d[0]
        netlist.cell(
            "CARRY8",
            {"CI": carry, "CI_TOP": ["0"], "S": select * 8, "DI": ["0"] * 8},
            {"O": sums, "CO": carries},
        )
        carry = carries[-1:]
    component = netlist.levels()[0]
    assert (component.levels, component.chains, component.chain_bits) == (2, 1, 13)


def test_seven_levels_are_over_the_limit():
    netlist = Netlist()
    _, bit = netlist.register("a")
    d, _ = netlist.register("part.b")
    for index in range(7):
        following = d if index == 6 else netlist.net(f"n{index}")
        netlist.table([bit], following, 0b01)
        bit = following
    assert [result.within_limits for result in netlist.levels()] == [False, True]


def test_paths_begin_and_end_at_memories():
    netlist = Netlist()
    _, a = netlist.register("a")
    data, d = netlist.net("data"), netlist.register("part.b")[0]
    netlist.cell("RAMB18E2", {"ADDRARDADDR": a}, {"DOUTADOUT": data})
    netlist.table([data], d, 0b01)
    assert netlist.levels()[0].levels == 1


def test_a_loop_is_refused():
    netlist = Netlist()
    one, two = netlist.net("one"), netlist.net("two")
    netlist.table([one], two, 0b01)
    netlist.table([two], one, 0b01)
    with pytest.raises(ValueError, match=r"no loop without a register, but has one through"):
        netlist.levels()


#: Small, but with all that the large ones have: pixels and positions side by side, several ports.
SMALL = AcceleratorConfig(
    name="levels",
    lanes=4,
    filters=4,
    pixels=3,
    post_lanes=2,
    post_positions=2,
    act_depth=1024,
    weight_depth=64,
    param_depth=16,
    axi_data_width=32,
    axi_ports=2,
    axi_address_width=40,
)


@pytest.mark.skipif(not NIGHTLY, reason="maps every component for a minute")
@pytest.mark.timeout(300)
def test_levels_of_all_components():
    results = accelerator_levels(SMALL)
    assert {"nbqnn_core", "nbqnn_compute_engine"} <= {result.component for result in results}
    over = [result for result in results if not result.within_limits]
    assert not over, "\n".join(map(str, over))


def test_levels_of_the_walker_of_single_positions(tmp_path):
    """In an accelerator with one position at a time; the sequencer's tables lie before it."""
    walker = PositionWalker(replace(SMALL, post_positions=1))
    top = walker.module_name
    netlist = mapped_netlist(emit(walker), top, "xcup", keep=(), log=tmp_path / "log")
    (result,) = logic_levels(netlist, top, {"": top})
    assert result.levels <= MAX_LEVELS - 1, result
    assert result.chain_bits <= MAX_CHAIN_BITS
