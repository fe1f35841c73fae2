"""The command line in this process, and a check for input that it must refuse."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def nbqnn(capfd, tmp_path, monkeypatch):
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(nbqnn, tmp_path, monkeypatch):
    """Runs a command that must be refused: code 2, one line that matches, every file as it was."""
    # What Python keeps of a module would be a file too.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def run(pattern: str, *arguments) -> None:
        before = contents(tmp_path)
        outcome = nbqnn(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert outcome.err.endswith("\n")
        line = outcome.err.removesuffix("\n")
        assert "\n" not in line, line
        assert re.fullmatch(rf"nbqnn: error: {pattern}", line), line
        assert contents(tmp_path) == before

    return run


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every path below ``folder``, with the bytes of the files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
