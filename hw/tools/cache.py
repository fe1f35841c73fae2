"""A cache of built simulators: folders named by what they were built from.

It holds at most ``$NBQNN_CACHE_GB`` gigabytes, 4 unless set. After a build the folders that were
used longest ago are removed until that is true. What was used within the last hours stays: it may
be in use.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["cache_folder", "cache_limit", "cached_folder", "cached_json", "keep_only", "prune"]

_DEFAULT_GB = 4.0
_RESULT = "result.json"
#: Seconds. A model that a process has loaded stays valid when its file is removed. One that it is
#: about to load does not, nor does one that is being built.
_IN_USE_S = 6 * 3600


def cache_folder() -> Path:
    """Where everything is kept: ``$NBQNN_CACHE``, or ``nbqnn`` in the user's cache."""
    if folder := os.environ.get("NBQNN_CACHE"):
        return Path(folder).expanduser().absolute()
    return user_cache_path("nbqnn", appauthor=False)


def cache_limit() -> int:
    """Bytes that the cache may hold: ``$NBQNN_CACHE_GB`` as a number of gigabytes."""
    text = os.environ.get("NBQNN_CACHE_GB") or str(_DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit <= 1e6:
        raise NbqnnError(f"NBQNN_CACHE_GB must be a number of gigabytes, not {text!r}")
    return int(limit * 1e9)


def cached_folder(kind: str, parts: Iterable[str | bytes], build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` fills, built now unless it was built before.

    A folder appears under its name only when it is complete. Processes that want the same one at
    the same time wait for the first of them. Its time of modification is that of its last use.

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
    if _use(folder):
        return folder
    limit = cache_limit()
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(_lock_file(folder)))
            if _use(folder):
                return folder
            unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=root))
        except OSError as error:
            raise NbqnnError(
                f"cache {str(root)!r} must be a folder that can be written to, but is not: "
                f"{error.strerror}; remedy: another one in NBQNN_CACHE"
            ) from None
        try:
            build(unfinished)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    prune(limit)
    return folder


def cached_json(kind: str, parts: Iterable[str | bytes], make: Callable[[], dict]) -> dict:
    """``make()``, or what it returned for the same ``parts`` before, maybe in another process.

    What is in the cache is plain JSON. A file that is damaged is made again.
    """

    def build(folder: Path) -> None:
        (folder / _RESULT).write_text(json.dumps(make()), encoding="utf-8")

    parts = tuple(parts)
    path = cached_folder(kind, parts, build) / _RESULT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        shutil.rmtree(path.parent, ignore_errors=True)
        path = cached_folder(kind, parts, build) / _RESULT
        return json.loads(path.read_text(encoding="utf-8"))


def _lock_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"


def _use(folder: Path) -> bool:
    """Whether the folder is there. From now on it is the one used last, unless it is somebody
    else's or cannot be written to."""
    try:
        os.utime(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return folder.is_dir()
    return True


def prune(limit: int, in_use_s: float = _IN_USE_S) -> list[Path]:
    """Removes folders, those used longest ago first, until the rest has at most ``limit`` bytes.

    Those used in the last ``in_use_s`` seconds stay. Returns what was removed. Others may use,
    build or prune at the same time: a folder vanishes at once under its name, under the lock of its
    builders.
    """
    root = cache_folder()
    found = []
    for entry in os.scandir(root):
        if entry.is_dir(follow_symlinks=False):
            with suppress(FileNotFoundError):
                path = Path(entry.path)
                found.append((entry.stat().st_mtime, _bytes(path), path))
    total = sum(size for _, size, _ in found)
    removed = []
    for used, size, folder in sorted(found):
        age = time.time() - used
        if total <= limit or age < in_use_s:
            break
        # What a killed build left has no lock: only its age tells it from a build that goes on.
        left_over = folder.name.startswith(".")
        if left_over and age > _IN_USE_S:
            shutil.rmtree(folder, ignore_errors=True)
        elif left_over or not _remove(root, folder, used):
            continue
        removed.append(folder)
        total -= size
    return removed


def _remove(root: Path, folder: Path, used: float) -> bool:
    """Takes a folder's name away, unless somebody builds it or has used it since."""
    try:
        with FileLock(_lock_file(folder), blocking=False):
            if folder.stat().st_mtime != used:
                return False
            gone = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=root))
            folder.rename(gone)
    except (OSError, Timeout):
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _bytes(folder: Path) -> int:
    """Bytes of the files in a folder. Files that vanish meanwhile count as nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def keep_only(folder: Path, *names: str) -> None:
    """Removes all files in ``folder`` except those named; a build needs the others no more."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
