"""Output of commands: on the screen and in files."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from nbqnn_train.graph.results import Result

__all__ = ["BROKEN_PIPE", "console", "print_notes", "progress", "spinner", "write_json"]

#: Exit code when the reader of the output has left, as ``head`` does: 128 and the signal's number,
#: as for other programs. Code 1 would say that the result is bad.
BROKEN_PIPE = 141
#: Columns of results in a file or a pipe: each row of a table is a line, for grep and for logs.
_UNLIMITED = 1000
#: Columns on a screen, at least: in fewer, tables would cut numbers off.
_LEAST = 80
#: Seconds from one line of progress to the next where no screen shows a bar.
_PERIOD_S = 30.0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise SystemExit(BROKEN_PIPE)


class _Results(_Console):
    """Wide enough for tables: without a limit where no screen and no ``COLUMNS`` says how wide."""

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        if not self.is_terminal and "COLUMNS" not in self._environ:
            width = _UNLIMITED
        return ConsoleDimensions(max(width, _LEAST), height)


#: Results go to standard output, progress to standard error. Names of files and layers may have
#: brackets and colons, which are neither markup nor emoji.
console = _Results(highlight=False, markup=False, emoji=False)
_progress_console = _Console(stderr=True, markup=False, emoji=False)


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """Shows that ``what`` is under way. Yields a function that shows the present step."""
    if not _progress_console.is_terminal:
        with _lines(what) as tell:
            yield tell
        return
    with _progress_console.status(Text(what)) as status:
        yield lambda step: status.update(Text.assemble(f"{what}: ", (step, "dim")))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar for ``what``. Yields a function of how many are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if not _progress_console.is_terminal:
        with _lines(what) as tell:
            yield lambda done, total: tell(f"{done}/{total}")
        return
    columns = TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=_progress_console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _lines(what: str) -> Iterator[Callable[[str], None]]:
    """In a file or a pipe: a line every :data:`_PERIOD_S`, with the last step told."""
    started, ended, last = time.monotonic(), threading.Event(), ""

    def tell(step: str) -> None:
        nonlocal last
        last = step

    def print_lines() -> None:
        while not ended.wait(_PERIOD_S):
            parts = [what, last, f"{time.monotonic() - started:.0f} s so far"]
            _progress_console.print(", ".join(filter(None, parts)), soft_wrap=True, highlight=False)

    printer = threading.Thread(target=print_lines, daemon=True)
    printer.start()
    try:
        yield tell
    finally:
        ended.set()
        printer.join()


def print_notes(notes: Iterable[str]) -> None:
    """Prints the notes of a conversion or an import, one line each."""
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def write_json(path: Path | None, result: Result) -> None:
    """Writes the result as JSON if a file was asked for."""
    if path is not None:
        result.write(path)
