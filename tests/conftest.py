"""What every test runs under."""

import os

# Workers share the cores among themselves; a library that starts a thread per core in each of them
# makes all of them slower. Before any import of such a library, hence here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests build many simulators and use each for a moment: compiling would take most of their time.
os.environ.setdefault("NBQNN_OPTIMIZE", "1")

from hypothesis import settings

from tests.nightly import NIGHTLY

# How long an example takes says nothing of the code on a machine that does other work. The same
# examples for every change: what fails then is the change. Each night there are others; what fails
# becomes an ``@example`` of its test, with the fault that it shows mended.
settings.register_profile("every change", deadline=None, derandomize=True)
settings.register_profile("night", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("night" if NIGHTLY else "every change")
