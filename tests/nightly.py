"""Whether tests take the many inputs of the nightly run or the few that everyone waits for."""

import os

__all__ = ["NIGHTLY", "examples"]

NIGHTLY = bool(os.environ.get("NBQNN_NIGHTLY"))
#: How many times as many random examples a test takes at night.
_MORE = 10


def examples(count: int) -> int:
    """How many random examples a test takes that takes ``count`` with every change."""
    return _MORE * count if NIGHTLY else count
