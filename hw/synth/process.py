"""Tools in processes of their own, with everything they say in a file."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hw.contract.files import write_text
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["run_python", "run_tool"]


def run_tool(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    allowed: Sequence[int] = (0,),
) -> tuple[int, list[str]]:
    """Runs ``command`` to its end in ``folder``.

    Returns its exit code and all lines that it printed; they are in the file ``log`` too.
    ``progress`` is called with each of them as it comes.

    Raises
    ------
    NbqnnError
        The exit code is none of ``allowed``; the message is the tool's first error.
    """
    lines = []
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                lines.append(line)
                progress(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    write_text(log, "".join(lines))
    if process.returncode not in allowed:
        errors = [line for line in lines if "ERROR" in line] or lines[-1:] or ["no message"]
        raise NbqnnError(f"{name} ended with code {process.returncode}: {errors[0].strip()}")
    return process.returncode, lines


def run_python(
    name: str, arguments: Sequence[str | Path], **options: object
) -> tuple[int, list[str]]:
    """:func:`run_tool` with this Python; ``-P``: the script's folder is no place to import from."""
    return run_tool(name, [sys.executable, "-P", *arguments], **options)
