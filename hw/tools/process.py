"""Tools in processes of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hw.contract.files import write_text
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["ToolError", "first_error", "run_python", "run_tool"]


class ToolError(NbqnnError):
    """A tool is missing or failed; the message is what to do or the tool's own first error."""


def run_tool(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    allowed: Sequence[int] | None = (0,),
    environment: Mapping[str, str] | None = None,
    time_limit_s: float | None = None,
) -> tuple[int, list[str]]:
    """Runs ``command`` to its end in ``folder``.

    Parameters
    ----------
    name : str
        Of the tool, for messages.
    log : Path, optional
        File for all that the tool prints, output and errors in one.
    progress : callable
        Called with each line as it comes.
    allowed : sequence of int, optional
        Exit codes that are no failure; None for all.
    environment : mapping, optional
        Variables beside those of this process.
    time_limit_s : float, optional
        Seconds after which the tool is ended.

    Returns
    -------
    tuple
        The exit code, and all lines that the tool printed.

    Raises
    ------
    ToolError
        The exit code is none of ``allowed``; the message has the tool's first error. Or the tool
        took too long.
    """
    lines: list[str] = []
    late = threading.Event()
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(time_limit_s or 0, end)
        if time_limit_s is not None:
            timer.start()
        try:
            for line in process.stdout:
                lines.append(line)
                progress(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    if log is not None:
        write_text(log, "".join(lines))
    if late.is_set():
        raise ToolError(f"{name} must finish in {time_limit_s:g} s, and did not")
    if allowed is not None and process.returncode not in allowed:
        raise ToolError(f"{name} ended with code {process.returncode}: {first_error(lines)}")
    return process.returncode, lines


def first_error(lines: Sequence[str]) -> str:
    """The first line that says so; the last line if none does."""
    for mark in ("ERROR", "rror"):
        for line in lines:
            if mark in line:
                return line.strip()
    return lines[-1].strip() if lines else "no message"


def run_python(
    name: str, arguments: Sequence[str | Path], **options: object
) -> tuple[int, list[str]]:
    """:func:`run_tool` with this Python; ``-P``: the script's folder is no place to import from."""
    return run_tool(name, [sys.executable, "-P", *arguments], **options)
