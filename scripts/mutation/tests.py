"""Finds the tests that belong to a source."""

from pathlib import PurePosixPath

__all__ = ["find_tests"]

#: Runs of the whole accelerator in Icarus Verilog, a second each. They notice most changes.
_FIRST = ("tests/sim/test_testbench.py::test_every_output_of_a_short_network",)
#: Tests of the whole accelerator: random networks, the end of each layer, bytes read, then faults.
_LAST = ("tests/hw/test_random_networks.py", "tests/hw/driver/test_driver.py",
         "tests/hw/model/test_cycles.py", "tests/hw/test_addresses.py",
         "tests/hw/test_faults.py")  # fmt: skip
_CELLS = (
    *("tests/formal/test_cells.py", "tests/formal/test_element.py", "tests/formal/test_lane.py"),
    *("tests/formal/test_sum.py", "tests/formal/test_quad.py", "tests/formal/test_cascade.py"),
)
_COMPILER = (
    *("tests/hw/compiler/test_costs.py", "tests/hw/compiler", "tests/hw/model"),
    *("tests/hw/test_batch.py", "tests/hw/test_pointwise.py", "tests/hw/test_mobile_layers.py"),
    "tests/hw/test_mobile_networks.py",
)
#: Beginning of a source's path -> tests, quickest first. The longest that fits counts.
_TESTS = {
    "hw/rtl/array": (*_FIRST, "tests/hw/rtl/array", *_LAST),
    "hw/rtl/axi": (
        *(*_FIRST, "tests/hw/rtl/axi", "tests/formal/test_axi.py", "tests/formal/test_stripes.py"),
        *_LAST,
    ),
    "hw/rtl/control": (*_FIRST, "tests/hw/rtl/control", "tests/hw/rtl/test_stalls.py", *_LAST),
    "hw/rtl/host": ("tests/hw/rtl/host", "tests/hw/boards"),
    "hw/rtl/memory": (*_FIRST, "tests/hw/rtl/memory", *_LAST),
    "hw/rtl/post": (*_FIRST, "tests/hw/rtl/post", *_LAST),
    "hw/rtl/stream": (*_FIRST, "tests/hw/rtl/stream", "tests/formal/test_stream.py", *_LAST),
    # These replace other cells in synthesis only.
    "hw/rtl/ultrascale": (*_CELLS, "tests/hw/synth/test_levels.py"),
    "hw/rtl/cells": (*_FIRST, *_CELLS, "tests/hw/rtl/post", *_LAST),
    "hw/rtl": (*_FIRST, "tests/hw/rtl/test_verilog.py", "tests/hw/rtl/test_generate.py", *_LAST),
    "hw/compiler": (*_COMPILER, *_LAST),
    "hw/spatial": (
        *("tests/hw/spatial/test_random_maps.py", "tests/hw/spatial/test_costs.py"),
        *("tests/hw/spatial", "tests/formal/test_adder_graphs.py"),
    ),
}


def find_tests(source: str, *, same_programs: bool = False) -> tuple[str, ...]:
    """Files and tests for pytest, in the order in which they are run until one of them fails.

    With ``same_programs`` a change of the compiler left more than a hundred random programs as they
    were. Then only tests with networks of their own are run.
    """
    if same_programs:
        return _COMPILER
    path = PurePosixPath(source)
    for parent in path.parents:
        if str(parent) in _TESTS:
            return _TESTS[str(parent)]
    return _LAST
