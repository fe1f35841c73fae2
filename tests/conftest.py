"""What every test runs under."""

import gc
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


def pytest_collection_finish(session):
    """Looks for garbage seldom, and never among what stays to the end: modules and collected tests.

    Elaborating an accelerator makes so many objects that four tenths of its time went there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)
