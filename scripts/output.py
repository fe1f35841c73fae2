"""What commands show and write."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from nbqnn_train.graph.results import Result

__all__ = ["console", "print_notes", "progress", "spinner", "write_json"]

#: Results go to standard output, progress to standard error. Names of files and layers may have
#: brackets, so nothing in them is markup.
console = Console(highlight=False, markup=False)
_progress_console = Console(stderr=True)


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """Shows that ``what`` is going on. Yields a function that shows the step it is at."""
    if not _progress_console.is_terminal:
        yield lambda step: None
        return
    with _progress_console.status(what) as status:
        yield lambda step: status.update(f"{what}: [dim]{step}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for ``what``. Yields a function that takes how many are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # In a file or a pipe a bar would only be a line break.
    silent = not _progress_console.is_terminal
    with Progress(*columns, console=_progress_console, transient=True, disable=silent) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_notes(notes: Iterable[str]) -> None:
    """What a conversion or an import noticed, one line each."""
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def write_json(path: Path | None, result: Result) -> None:
    """The result as JSON, if a file was asked for."""
    if path is not None:
        result.write(path)
