"""Whether tests take the many inputs of the nightly run or the few that everyone waits for."""

import os

__all__ = ["NIGHTLY"]

NIGHTLY = bool(os.environ.get("NBQNN_NIGHTLY"))
