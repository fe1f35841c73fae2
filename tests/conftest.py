"""What every test runs under."""

import os

# Workers share the cores among themselves; a library that starts a thread per core in each of them
# makes all of them slower. Before any import of such a library, hence here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
