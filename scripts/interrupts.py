"""Messages of interrupted commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["saying_how_to_go_on"]

_INTERRUPTED = 130


@contextmanager
def saying_how_to_go_on() -> Iterator[None]:
    """An interrupt with a message shows it and ends the command with code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            print("nbqnn:", interrupt, file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
