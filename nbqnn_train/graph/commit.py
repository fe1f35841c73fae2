"""The commit of nbqnn that is running."""

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["source_commit"]

#: The folder that the packages are in: a checkout, or where they are installed.
_ROOT = Path(__file__).parents[2]


@cache
def source_commit(digits: int = 12) -> str | None:
    """Commit of the checkout that nbqnn runs from, with "-dirty" if files differ from it.

    None if nbqnn does not run from a git checkout of its own, or git is not installed.
    """
    if not (_ROOT / ".git").exists():
        return None
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
