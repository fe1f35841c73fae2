"""A cache of built simulators: folders named by what they were built from."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["cache_folder", "cached_folder", "keep_only"]


def cache_folder() -> Path:
    """Where built simulators are kept: ``$NBQNN_CACHE``, or ``nbqnn`` in the user's cache."""
    if folder := os.environ.get("NBQNN_CACHE"):
        return Path(folder).expanduser().absolute()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "nbqnn"


def cached_folder(kind: str, parts: Iterable[str | bytes], build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` fills, built now unless it was built before.

    A folder appears under its name only when it is complete. Other processes that want the same
    one at the same time wait for the first.

    Parameters
    ----------
    kind : str
        Begins the folder's name.
    parts : iterable of str or bytes
        All that the content depends on; its hash ends the folder's name.
    build : callable
        Fills the empty folder it is given, which is renamed afterwards: nothing in it may rely on
        its path.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # The length keeps ("ab", "c") apart from ("a", "bc").
        digest.update(len(data).to_bytes(8, "little") + data)
    root = cache_folder()
    folder = root / f"{kind}-{digest.hexdigest()[:24]}"
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=root))
        try:
            build(unfinished)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder


def keep_only(folder: Path, *names: str) -> None:
    """Removes all files in ``folder`` but those named: what a build needed only on the way."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
