"""A part of the nightly run: a command with a budget, here or on a worker of a cluster."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Ended", "Part", "run_here", "run_on_worker", "tests_digest"]

_ROOT = Path(__file__).parents[1]
#: Seconds that a part has to end after it was interrupted at the end of its budget. Then it is
#: killed.
_GRACE_S = 20
#: Runs a command, and ends it with all that it started when standard input ends: whoever holds the
#: other end of it is gone then. An interrupt is the command's affair.
_GUARD = """
import os, signal, subprocess, sys, threading
def end():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGINT, lambda *_: None)
process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.DEVNULL)
threading.Thread(target=end, daemon=True).start()
code = process.wait()
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Part:
    """A command with a budget. The last match of ``said`` in its output says what it did."""

    name: str
    command: tuple[str, ...]
    minutes: float
    said: str = r"\d+ passed.*(?= in )"

    @property
    def log_name(self) -> str:
        """Of the file with its output."""
        return f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())}.log"


@dataclass(frozen=True)
class Ended:
    """The outcome of a part: ``outcome`` is "passed", "failed" or "stopped" (its budget was over).

    ``cpu_minutes`` is processor time; other work on the machine does not lengthen it.
    """

    name: str
    outcome: str
    minutes: float
    cpu_minutes: float
    did: str
    log: str


def run_here(part: Part, folder: Path, stopping: threading.Event | None = None) -> Ended | None:
    """Runs a part; its log is written to ``folder``. None if everything was to stop."""
    stopping = stopping or threading.Event()
    log = folder / part.log_name
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _GUARD, *part.command],
            cwd=_ROOT,
            env=os.environ | {"NBQNN_NIGHTLY": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # The process and its children are a group of their own, which can be ended as a whole.
            start_new_session=True,
        )
        stopped, cpu_s = _wait(process, began + 60 * part.minutes, stopping)
        process.stdin.close()
    if stopping.is_set():
        return None
    found = re.findall(part.said, log.read_text(encoding="utf-8", errors="replace"))
    outcome = "stopped" if stopped else "failed" if process.returncode else "passed"
    minutes = round((time.monotonic() - began) / 60, 1)
    said = found[-1] if found else ""
    return Ended(part.name, outcome, minutes, round(cpu_s / 60, 1), said, str(log))


def run_on_worker(tests: str, part: Part) -> tuple[Ended, str]:
    """Runs a part in the worker's own checkout; returns what came out, and its log's text.

    ``tests`` is :func:`tests_digest` of the checkout that asks. Raises :exc:`NbqnnError` if the
    worker has other tests.
    """
    if tests_digest() != tests:
        raise NbqnnError(
            "Workers of the nightly run must have the same tests as here, but one has others or "
            "none; remedy: install nbqnn there from the same commit's checkout, with pip's -e"
        )
    with TemporaryDirectory() as folder:
        ended = run_here(part, Path(folder))
        return ended, Path(ended.log).read_text(encoding="utf-8", errors="replace")


def tests_digest() -> str:
    """Digest of all files of Python below ``tests``."""
    found = hashlib.sha256()
    for path in sorted((_ROOT / "tests").rglob("*.py")):
        found.update(path.relative_to(_ROOT).as_posix().encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _wait(
    process: subprocess.Popen, deadline: float, stopping: threading.Event
) -> tuple[bool, float]:
    """Waits for the process. Returns whether it was stopped, and its seconds of processor time."""
    # The signals that end it, the hardest last.
    left = [signal.SIGINT, signal.SIGKILL]
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return len(left) < 2, usage.ru_utime + usage.ru_stime
        if left and (time.monotonic() > deadline or (stopping.is_set() and len(left) == 2)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, left.pop(0))
            deadline = time.monotonic() + _GRACE_S
        time.sleep(0.2)
