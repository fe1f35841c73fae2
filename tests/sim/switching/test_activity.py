"""Changes of nets: those of a netlist by hand, and an element that does nothing."""

import numpy as np
import pytest

from sim.switching.activity import count_toggles
from sim.switching.netlist import switched_netlist


def _cell(type_: str, outputs: str, /, parameters: dict | None = None, **pins: list) -> dict:
    directions = {port: "output" if port in outputs.split() else "input" for port in pins}
    return {
        "type": type_,
        "parameters": parameters or {},
        "port_directions": directions,
        "connections": pins,
    }


#: A register of ``a & b``; a table of ``a & b`` and of ``a ^ c``; a sum of two bits and a carry.
NETLIST = {
    "ports": {
        "clk": {"direction": "input", "bits": [2]},
        "a": {"direction": "input", "bits": [3]},
        "b": {"direction": "input", "bits": [4, 5]},
        "q": {"direction": "output", "bits": [8, 12, 13, 14]},
    },
    "cells": {
        "and": _cell("$_AND_", "Y", A=[3], B=[4], Y=[6]),
        "register": _cell("FDRE", "Q", C=[2], CE=["1"], D=[6], R=["0"], Q=[8]),
        # O6 is I0 ^ I1 and O5 is I0 & I1, for both values of the others.
        "table": _cell(
            "LUT6_2", "O5 O6", {"INIT": "0110" * 8 + "1000" * 8},
            I0=[3], I1=[4], I2=[5], I3=["0"], I4=["0"], I5=["1"], O6=[10], O5=[11],
        ),
        "sum": _cell(
            "CARRY8", "O CO",
            CI=["0"], CI_TOP=["0"],
            S=[10, 5, "0", "0", "0", "0", "0", "0"], DI=[11, 4, "0", "0", "0", "0", "0", "0"],
            O=[12, 13, 14, 15, 16, 17, 18, 19], CO=[20, 21, 22, 23, 24, 25, 26, 27],
        ),
    },
}  # fmt: skip


def test_pins_are_those_that_a_net_drives():
    pins = switched_netlist(NETLIST, "q").pins
    # a: gate and table. b[0]: gate, table (once, though both outputs need it) and carry chain.
    assert (pins["n3"], pins["n4"]) == (2, 3)
    # The table does not depend on b[1]; the chain does.
    assert pins["n5"] == 1
    assert pins["n8"] == 1  # an output
    assert pins["n15"] == 0


def test_changes_are_those_of_the_values_by_hand():
    drawn = np.random.default_rng(3).integers(0, 2, (60, 3))
    a, b0, b1 = drawn.T
    netlist = switched_netlist(NETLIST, "q")
    found = count_toggles(netlist, {"a": drawn[:, :1], "b": drawn[:, 1:]})
    register = np.concatenate([[0], (a & b0)[:-1]])
    # The chain: select a ^ b0 and b1, with a & b0 and b0 as what is carried otherwise.
    first = a ^ b0
    carry = np.where(first, 0, a & b0)
    second = b1 ^ carry
    third = np.where(b1, carry, b0)
    values = {3: a, 4: b0, 5: b1, 6: a & b0, 8: register, 10: a ^ b0, 12: first, 13: second}
    values[14] = third
    assert {net: found.toggles[f"n{net}"] for net in values} == {
        net: int(np.abs(np.diff(value, prepend=0)).sum()) for net, value in values.items()
    }
    together = register | first << 1 | second << 2 | third << 3
    np.testing.assert_array_equal(found.outputs, together.astype(np.uint64))


def test_a_cell_without_a_model_is_named():
    module = NETLIST | {"cells": {"x": _cell("DSP48E2", "P", A=[3], P=[8])}}
    with pytest.raises(ValueError, match=r"^Cell must have a model, but 'DSP48E2' has none$"):
        switched_netlist(module, "q")
