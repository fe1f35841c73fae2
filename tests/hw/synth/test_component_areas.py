"""Areas of components from a netlist without hierarchy, written by hand."""

from hw.synth.area import Area, ModuleAreas
from hw.synth.component_areas import component_areas


def cell(kind, inputs, outputs):
    sides = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {"type": kind, "connections": inputs | outputs, "port_directions": sides}


def net(bits, init=False):
    return {"bits": bits, "init": init}


def test_each_cell_belongs_to_one_component():
    """Registers by their names, tables by what they feed, modules as a whole; all add up."""
    module = {
        "netnames": {
            "core.walker.position": net([10], init=True),
            # The same net, under the name of a port further up.
            "position": net([10]),
            "core.deep.inner.more.state": net([11], init=True),
            "core.walker.next": net([20]),
        },
        "cells": {
            "ff_walker": cell("FDRE", {"D": [20], "C": [1]}, {"Q": [10]}),
            "ff_deep": cell("FDRE", {"D": [30], "C": [1]}, {"Q": [11]}),
            # Named by what it drives, although it reads from elsewhere.
            "t_named": cell("LUT6", {"I0": [11]}, {"O": [20]}),
            # Two levels without names before the register of the deep component.
            "t_near": cell("LUT2", {"I0": [31]}, {"O": [30]}),
            "t_far": cell("LUT2", {"I0": [10]}, {"O": [31]}),
            # Nothing tells whose this is.
            "t_lost": cell("LUT1", {"I0": [10]}, {"O": [40]}),
            "core.array": cell("array", {"a": [10]}, {"s": [50]}),
            "carry": cell("CARRY8", {"CI": [10]}, {"CO": [60]}),
        },
    }
    inside = {"netnames": {}, "cells": {"x": cell("LUT6", {"I0": [2]}, {"O": [3]})}}
    counts = {
        "top": {"FDRE": 2, "LUT6": 1, "LUT2": 2, "LUT1": 1, "CARRY8": 1, "array": 1},
        "array": {"LUT6": 7, "FDRE": 5},
    }
    paths = {
        "": "top",
        "core": "core",
        "core.walker": "walker",
        "core.deep": "deep",
        "core.deep.inner": "inner",
        "core.deep.inner.more": "more",
        "core.array": "array",
    }
    areas = ModuleAreas(counts, "xcup")
    found = component_areas({"top": module, "array": inside}, "top", paths, areas, "xcup")
    assert found == {
        "": Area(lut=1),
        "core.array": Area(lut=7, ff=5),
        "core.deep.inner": Area(lut=2, ff=1),
        "core.walker": Area(lut=1, ff=1),
    }
    assert sum(found.values(), Area()) == areas.of("top")
