"""Changes a copy of the sources, one change at a time, and runs tests until one fails."""

import compileall
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

from hw.contract.origin import source_commit
from nbqnn_train.graph.errors import NbqnnError
from scripts.lines import append_line, read_lines
from scripts.mutation.changes import Change, changes
from scripts.mutation.tests import find_tests

__all__ = ["Mutant", "Outcome", "choose", "read_journal", "run_mutants", "sources"]

#: The folders whose sources are changed.
_FOLDERS = ("hw/rtl", "hw/compiler", "hw/spatial")
#: What is copied of a checkout; the rest is not needed.
_COPIED = ("hw", "nbqnn_train", "scripts", "sim", "tests", "pyproject.toml")
#: Longest time of one set of tests. A change with which they take longer counts as noticed.
_LIMIT_S = 900
_DIGEST_LIMIT_S = 600
#: The networks of the test that is left out are compiled before, see ``tests.mutation.programs``.
_PYTEST = (
    *("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-rfE"),
    "--deselect=tests/hw/compiler/test_operators.py::test_random_networks",
)
#: How pytest says which test failed.
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One change of one file, the ``index``-th that was chosen."""

    index: int
    file: str
    change: Change


@dataclass(frozen=True)
class Outcome:
    """The outcome of a mutant: ``outcome`` is "killed", "survived" or "equivalent".

    ``by`` is what killed it: "elaboration", "wrong: " and which program, a test, or a test with
    "(time)"; otherwise None.
    """

    index: int
    file: str
    line: int
    kind: str
    before: str
    after: str
    outcome: str
    by: str | None
    seconds: float


def sources(root: Path, only: str = "") -> dict[str, str]:
    """Path -> text of the sources that are changed: those whose path begins with ``only``."""
    found = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for folder in _FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
        if path.name != "__init__.py"
    }
    chosen = {name: text for name, text in found.items() if name.startswith(only)}
    if not chosen:
        raise NbqnnError(f"sources must begin with {' or '.join(_FOLDERS)}, not with {only!r}")
    return chosen


def choose(texts: dict[str, str], count: int, seed: int) -> list[Mutant]:
    """Chooses ``count`` different mutants; always the same ones for the same sources and seed."""
    every = [(file, change) for file, text in texts.items() for change in changes(text)]
    if not 0 < count <= len(every):
        raise NbqnnError(f"mutants must be 1...{len(every)}, not {count}")
    chosen = random.Random(seed).sample(every, count)
    return [Mutant(index, file, change) for index, (file, change) in enumerate(chosen)]


def read_journal(path: Path, mutants: list[Mutant], seed: int) -> list[Outcome]:
    """The outcomes in the lines of a journal; none if there is no journal.

    Raises :exc:`NbqnnError` if the journal is of other mutants.
    """
    if not path.exists():
        return []
    try:
        first, *lines = read_lines(path) or [{}]
        if first["seed"] != seed:
            raise ValueError("another seed")
        done = [Outcome(**line) for line in lines]
        for one in done:
            mutant = mutants[one.index]
            if (mutant.file, mutant.change.after) != (one.file, one.after):
                raise ValueError("of other sources")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise NbqnnError(
            f"journal {str(path)!r} must be of these mutants, but is not ({error}); "
            "remedy: another --journal, or remove it"
        ) from None
    return done


def run_mutants(
    root: Path,
    mutants: list[Mutant],
    seed: int,
    journal: Path,
    *,
    jobs: int = 1,
    hours: float = float("inf"),
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Runs those that the journal lacks, and adds a line for each.

    ``jobs`` of them run at a time, each in its own copy of ``root``. No mutant is begun after
    ``hours``. Raises :exc:`NbqnnError` if tests fail without a change.
    """
    done = read_journal(journal, mutants, seed)
    known = {one.index for one in done}
    left = [mutant for mutant in mutants if mutant.index not in known]
    deadline = time.monotonic() + hours * 3600
    if not left:
        return done
    if not journal.exists():
        header = {"seed": seed, "mutants": len(mutants), "commit": source_commit()}
        append_line(journal, header)
    waiting = iter(left)
    # What killed others already passes without a change.
    sound = {one.by for one in done if one.by is not None}
    lock = threading.Lock()
    stopping = threading.Event()

    def work() -> None:
        with _copy(root) as copy:
            bench = _Bench(copy, stopping, sound)
            while time.monotonic() < deadline and not stopping.is_set():
                with lock:
                    mutant = next(waiting, None)
                if mutant is None:
                    return
                outcome = bench.run(mutant)
                with lock:
                    append_line(journal, asdict(outcome))
                    done.append(outcome)
                    progress(outcome)

    with ThreadPoolExecutor(jobs) as pool:
        workers = [pool.submit(work) for _ in range(jobs)]
        try:
            for worker in as_completed(workers):
                worker.result()
        except BaseException:
            stopping.set()
            raise
    return done


class _StoppedError(Exception):
    """Everything is to stop; what the tests said does not count."""


@contextmanager
def _copy(root: Path) -> Iterator[Path]:
    """A copy of the sources and tests, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="nbqnn-mutants-") as folder:
        ignore = shutil.ignore_patterns("__pycache__", "build", "*.pyc")
        for name in _COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, Path(folder, name), ignore=ignore)
            else:
                shutil.copy2(root / name, Path(folder, name))
        # Every process reads these. By the hash of the source a change is seen whenever it is made.
        hashed = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(folder, quiet=2, invalidation_mode=hashed)
        yield Path(folder)


class _Bench:
    """A copy of the tree in which mutants run one after the other."""

    def __init__(self, copy: Path, stopping: threading.Event, sound: set[str]):
        self._copy = copy
        self._stopping = stopping
        self._sound = sound
        self._digests: set[str] = set()

    def run(self, mutant: Mutant) -> Outcome:
        """The mutant's outcome; the copy is as before afterwards."""
        began = time.monotonic()
        in_hardware = mutant.file.startswith("hw/rtl")
        if in_hardware:
            self._keep_digests("rtlil")
        elif mutant.file.startswith("hw/compiler"):
            self._keep_programs()
        with self._changed(mutant):
            outcome, by = self._outcome(mutant, in_hardware)
        if outcome == "survived" and in_hardware:
            # Where the RTLIL differs, the Verilog may still be the same.
            self._keep_digests("verilog")
            with self._changed(mutant):
                if self._compared("verilog") == "same":
                    outcome = "equivalent"
        # A test that fails anyway proves nothing.
        if by not in (None, "elaboration") and not by.startswith("wrong: "):
            self._check_sound(by)
        change = mutant.change
        return Outcome(
            index=mutant.index,
            file=mutant.file,
            line=change.line,
            kind=change.kind,
            before=change.before,
            after=change.after,
            outcome=outcome,
            by=by,
            seconds=round(time.monotonic() - began, 1),
        )

    @contextmanager
    def _changed(self, mutant: Mutant) -> Iterator[None]:
        file = self._copy / mutant.file
        source = file.read_text(encoding="utf-8")
        try:
            file.write_text(mutant.change.apply(source), encoding="utf-8")
            yield
        finally:
            file.write_text(source, encoding="utf-8")

    def _outcome(self, mutant: Mutant, in_hardware: bool) -> tuple[str, str | None]:
        """The outcome and what killed the mutant, which is in place."""
        if in_hardware:
            match self._compared("rtlil", mutant.file):
                case None:
                    return "killed", "elaboration"
                case "same":
                    return "equivalent", None
        same_programs = False
        if mutant.file.startswith("hw/compiler"):
            said = self._module("tests.mutation.programs", "compare", "programs")
            if said is None or said.startswith("wrong: "):
                return "killed", said or "wrong: the compiler cannot be imported, or never ends"
            same_programs = said == "same"
        for tests in find_tests(mutant.file, same_programs=same_programs):
            if (failed := self._fails(tests)) is not None:
                return "killed", failed
        return "survived", None

    def _check_sound(self, by: str) -> None:
        """Checks that the tests which killed a mutant pass without a change."""
        if by in self._sound:
            return
        test = by.removesuffix(" (time)")
        read_only = "::" not in test and test == by
        if self._fails(test, *(["--collect-only"] if read_only else [])) is not None:
            raise NbqnnError(f"{test} must pass without a change, but fails")
        self._sound.add(by)

    def _keep_digests(self, form: str) -> None:
        """Computes the digests of the hardware without a change, once."""
        if form not in self._digests:
            if self._digest("write", form) is None:
                raise NbqnnError("the sources must generate Verilog without a change, but do not")
            self._digests.add(form)

    def _keep_programs(self) -> None:
        """Compiles random networks without a change, once."""
        if "programs" not in self._digests:
            if self._module("tests.mutation.programs", "write", "programs") is None:
                raise NbqnnError("the sources must compile networks without a change, but do not")
            self._digests.add("programs")

    def _compared(self, form: str, file: str = "") -> str | None:
        """Whether the hardware is the "same" or "different"; None if it cannot be generated.

        What ``file`` describes is compared first.
        """
        return self._digest("compare", form, file)

    def _digest(self, what: str, form: str, file: str = "") -> str | None:
        return self._module("tests.mutation.rtl_digest", what, form, f"{form}.digests", file)

    def _module(self, *arguments: str) -> str | None:
        """What a module of the tests prints; None if it fails or takes too long."""
        command = ["-m", *arguments]
        try:
            # Other work on the machine must not make a mutant one that cannot be generated.
            done = self._python(command, 10 * _DIGEST_LIMIT_S, cpu_s=_DIGEST_LIMIT_S)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _fails(self, tests: str, *options: str) -> str | None:
        """The first test that fails; all with "(time)" if they take too long; None if all pass."""
        command = [*_PYTEST, *options, tests]
        try:
            done = self._python(command, _LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"{tests} (time)"
        if done.returncode == 0:
            return None
        failed = _FAILED.findall(done.stdout)
        return failed[0] if failed else tests

    def _python(
        self, arguments: list[str], limit_s: float, cpu_s: int | None = None
    ) -> subprocess.CompletedProcess:
        usual = {name: value for name, value in os.environ.items() if name != "NBQNN_NIGHTLY"}
        environment = usual | {
            "PYTHONPATH": str(self._copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, *arguments]
        deadline = time.monotonic() + limit_s
        with subprocess.Popen(
            command,
            cwd=self._copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # The tests and the simulators that they start are ended together.
            start_new_session=True,
        ) as process:
            if cpu_s is not None:
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
            while True:
                try:
                    output, _ = process.communicate(timeout=0.5)
                except subprocess.TimeoutExpired:
                    if self._stopping.is_set() or time.monotonic() > deadline:
                        os.killpg(process.pid, signal.SIGKILL)
                        if self._stopping.is_set():
                            raise _StoppedError from None
                        raise
                else:
                    return subprocess.CompletedProcess(command, process.returncode, output)
