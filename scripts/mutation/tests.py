"""Which tests belong to a source."""

from pathlib import PurePosixPath

__all__ = ["find_tests"]

#: Beginning of a source's path -> tests, quickest first. The longest that fits counts.
_TESTS = {
    "hw/rtl/array": ("tests/hw/rtl/array",),
    "hw/rtl/axi": ("tests/hw/rtl/axi",),
    "hw/rtl/control": ("tests/hw/rtl/control", "tests/hw/rtl/test_stalls.py"),
    "hw/rtl/host": ("tests/hw/rtl/host", "tests/hw/boards"),
    "hw/rtl/memory": ("tests/hw/rtl/memory",),
    "hw/rtl/post": ("tests/hw/rtl/post",),
    "hw/rtl/stream": ("tests/hw/rtl/stream",),
    "hw/rtl/ultrascale": ("tests/formal", "tests/hw/synth/test_levels.py"),
    "hw/rtl/cells": ("tests/formal", "tests/hw/rtl/post"),
    "hw/rtl": ("tests/hw/rtl/test_verilog.py", "tests/hw/rtl/test_generate.py"),
    "hw/compiler": ("tests/hw/compiler", "tests/hw/model", "tests/hw/test_batch.py"),
}
#: Of the whole: random networks, then faults.
_LAST = ("tests/hw/test_random_networks.py", "tests/hw/driver/test_driver.py",
         "tests/hw/test_faults.py")  # fmt: skip


def find_tests(source: str) -> tuple[str, ...]:
    """Paths for pytest, in the order in which they are run until one of them fails."""
    path = PurePosixPath(source)
    for parent in path.parents:
        if str(parent) in _TESTS:
            return (*_TESTS[str(parent)], *_LAST)
    return _LAST
