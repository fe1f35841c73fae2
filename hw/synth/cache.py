"""What Yosys found out about a module, kept under a hash of all that it depends on."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from hw.contract.files import write_text

__all__ = ["cached"]


def cached(parts: Iterable[str], make: Callable[[], dict]) -> dict:
    """``make()``, or what it returned for the same ``parts`` before, maybe in another process.

    The files are in ``$NBQNN_CACHE``, or ``nbqnn`` in the user's cache; what is there is plain JSON
    and may be deleted at any time.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = os.environ.get("NBQNN_CACHE")
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(folder).expanduser() if folder else Path(user_cache) / "nbqnn"
    path = root / "yosys" / f"{digest}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Not there, or not whole: made again and replaced.
        result = make()
    write_text(path, json.dumps(result))
    return result
