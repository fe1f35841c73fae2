"""What every test runs under."""

import os

# Workers share the cores among themselves; a library that starts a thread per core in each of them
# makes all of them slower. Before any import of such a library, hence here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests build many simulators and use each for a moment: compiling would take most of their time.
os.environ.setdefault("NBQNN_OPTIMIZE", "1")

from hypothesis import settings

# How long an example takes says nothing of the code on a machine that does other work.
settings.register_profile("nbqnn", deadline=None)
settings.load_profile("nbqnn")
