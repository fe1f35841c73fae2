"""The commit of nbqnn that is running."""

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["source_commit"]

#: The folder that the packages are in: a checkout, or where they are installed.
_ROOT = Path(__file__).parents[2]
#: Wheels and source archives carry this file: the 40 digits, with "-dirty" where it was so.
_CARRIED = Path(__file__).with_suffix(".txt")


@cache
def source_commit(digits: int = 12) -> str | None:
    """Commit of nbqnn, with "-dirty" if files differed from it.

    In a checkout git is asked; a package that was built from one carries the commit. None if
    there is neither, or git is not installed.
    """
    if not (_ROOT / ".git").exists():
        return _carried_commit(digits)
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    # Without it, git might wait for the lock of another git process, or write the index.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [*command, f"--abbrev={digits}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _carried_commit(digits: int) -> str | None:
    if not _CARRIED.exists():
        return None
    commit, dash, dirty = _CARRIED.read_text(encoding="utf-8").strip().partition("-")
    return commit[:digits] + dash + dirty
