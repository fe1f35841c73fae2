"""Accelerators for networks with power-of-two weights: hardware, compiler, driver."""

import sys

# The oldest Python of the boards that are meant; pip, which would say so too, is not used there.
if sys.version_info < (3, 10):  # noqa: UP036
    raise ImportError(f"nbqnn needs Python 3.10 or newer, not {sys.version.split()[0]}")

from hw.moved import install

install()
