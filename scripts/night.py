"""``scripts/nightly``: tests that take too long for every change, in three hours on two cores."""

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue

from rich.table import Table

from hw.contract.origin import source_commit
from scripts.lines import append_line, read_lines
from scripts.output import console

__all__ = ["PARTS", "Ended", "Part", "ended_table", "run_parts"]

_ROOT = Path(__file__).parents[1]
_FOLDER = _ROOT / "build" / "nightly"
#: Number of parts that run at the same time. Each keeps one core busy.
_AT_ONCE = 2
#: Seconds that a part has to end after it was interrupted at the end of its budget. Then it is
#: killed.
_GRACE_S = 20
#: Seconds of each fuzzer.
_FUZZ_S = 600
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Part:
    """A command with a budget. The last match of ``said`` in its output says what it did."""

    name: str
    command: tuple[str, ...]
    minutes: float
    said: str = r"\d+ passed.*(?= in )"


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


def _tests(name: str, minutes: float, *paths: str) -> Part:
    return Part(name, (*_PYTEST, *paths), minutes)


def _fuzzer(target: str) -> Part:
    command = ("-m", "tests.fuzz", target, f"-max_total_time={_FUZZ_S}")
    return Part(f"fuzz {target}", command, _FUZZ_S / 60 + 1, r"Done \d+ runs")


#: Kinds of files, as ``tests.fuzz`` names them.
FUZZED = ("graph", "program", "configuration", "images", "idx", "pickle", "weights", "run",
          "qonnx", "report")  # fmt: skip
#: Longest first, so that both cores end at about the same time: at most 360 minutes in all.
PARTS = (
    Part(
        "mutants",
        ("-m", "scripts.mutation", "500", "--hours", "1.5"),
        95,
        r"\d+ of \d+ mutants.*",
    ),
    _tests("large networks", 30, "tests/train/test_models.py", "tests/train/test_timm.py"),
    _tests("proofs", 25, "tests/formal"),
    _tests("place, route, area", 25, "tests/hw/synth/test_nextpnr.py",
           "tests/hw/synth/test_area_model.py", "tests/hw/synth/test_levels.py"),
    _tests("coverage of the RTL", 18, "tests/hw/test_coverage.py"),
    _tests("random networks in PyTorch", 15, "tests/train/test_exactness.py"),
    _tests("faults", 12, "tests/hw/test_faults.py"),
    _tests("AXI ports", 12, "tests/hw/test_axi_ports.py"),
    # The pattern finds the runs of each kind, and how much the process has grown.
    Part("endurance", (*_PYTEST, "-s", "tests/hw/test_endurance.py"), 8, r"\d+ runs: .*"),
    _tests("restarts", 5, "tests/hw/test_restarts.py"),
    _tests("compilers", 5, "tests/sim/test_runner.py"),
    *map(_fuzzer, FUZZED),
)  # fmt: skip


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    *,
    at_once: int = _AT_ONCE,
    progress: Callable[[Ended], None] = lambda ended: None,
) -> list[Ended]:
    """Runs the parts without a result in ``folder``, and writes each result there at once.

    Output goes to ``NAME.log``. A part that was under way when this process was stopped begins
    again the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.jsonl"
    done = {one["name"]: Ended(**one) for one in read_lines(state)}
    left: Queue[Part] = Queue()
    for part in parts:
        if part.name not in done:
            left.put(part)
    lock = threading.Lock()
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            try:
                part = left.get_nowait()
            except Empty:
                return
            ended = _run(part, folder, stopping)
            if ended is None:
                return
            with lock:
                append_line(state, asdict(ended))
                done[part.name] = ended
                progress(ended)

    workers = [threading.Thread(target=work) for _ in range(at_once)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException:
        stopping.set()
        for worker in workers:
            worker.join()
        raise
    return [done[part.name] for part in parts if part.name in done]


def _run(part: Part, folder: Path, stopping: threading.Event) -> Ended | None:
    """Runs one part. None if everything is to stop."""
    log = folder / f"{re.sub(r'[^a-z0-9]+', '-', part.name.lower())}.log"
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *part.command],
            cwd=_ROOT,
            env=os.environ | {"NBQNN_NIGHTLY": "1", "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            # The process and its children are a group of their own, which can be ended as a whole.
            start_new_session=True,
        )
        stopped, cpu_s = _wait(process, began + 60 * part.minutes, stopping)
    if stopping.is_set():
        return None
    found = re.findall(part.said, log.read_text(encoding="utf-8", errors="replace"))
    outcome = "stopped" if stopped else "failed" if process.returncode else "passed"
    minutes = round((time.monotonic() - began) / 60, 1)
    said = found[-1] if found else ""
    return Ended(part.name, outcome, minutes, round(cpu_s / 60, 1), said, str(log))


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


def ended_table(parts: Sequence[Part], ended: Sequence[Ended]) -> Table:
    """One row for each part: what ran, how much, what was found."""
    results = {one.name: one for one in ended}
    table = Table()
    for column in ("part", "outcome", "did", "log"):
        table.add_column(column)
    for column in ("minutes", "of the processor"):
        table.add_column(column, justify="right")
    for part in parts:
        one = results.get(part.name)
        row = ("not run", "", "", "", "") if one is None else (
            one.outcome, one.did, one.log, f"{one.minutes:.1f}", f"{one.cpu_minutes:.1f}"
        )  # fmt: skip
        table.add_row(part.name, *row)
    return table


def main() -> int:
    """Exit code 1 unless every part passed."""
    parser = argparse.ArgumentParser(prog="scripts/nightly", description=__doc__)
    parser.add_argument("--afresh", action="store_true", help="forget what is done already")
    parser.add_argument("--only", default="", help="parts whose names contain this")
    options = parser.parse_args()
    parts = [part for part in PARTS if options.only in part.name]
    folder = _FOLDER / (source_commit() or "unknown")
    if options.afresh:
        (folder / "state.jsonl").unlink(missing_ok=True)
    ended = run_parts(
        parts, folder, progress=lambda one: console.print(f"{one.outcome}: {one.name}")
    )
    console.print(ended_table(parts, ended))
    return int(len(ended) < len(parts) or any(one.outcome != "passed" for one in ended))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
