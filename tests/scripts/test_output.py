"""scripts.output: names are shown as they are."""

import io
import time

import pytest
from rich.table import Table

from scripts import output

#: What rich would take as an emoji, as the end of a style and as a style.
NAME = "layer:100:key:/[/b][red]"


@pytest.fixture
def screen(monkeypatch):
    """A terminal of both consoles."""
    text = io.StringIO()
    for console in (output.console, output._progress_console):
        monkeypatch.setattr(console, "_file", text)
        monkeypatch.setattr(console, "_force_terminal", True)
        monkeypatch.setattr(console, "is_interactive", True)
        monkeypatch.setattr(console, "_environ", {"TERM": "xterm"})
        monkeypatch.setattr(console, "_width", 200)
    return text


def test_lines_and_tables(screen):
    table = Table(NAME)
    table.add_row(NAME)
    output.console.print(NAME, table)
    assert screen.getvalue().count(NAME) == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_no_number_is_cut_off_and_a_row_in_a_pipe_is_a_line(screen, monkeypatch, terminal):
    columns = {"COLUMNS": "30"} if terminal else {}
    monkeypatch.setattr(output.console, "_force_terminal", terminal)
    monkeypatch.setattr(output.console, "_environ", {"TERM": "xterm", **columns})
    monkeypatch.setattr(output.console, "_width", 30 if terminal else None)
    name, number = "layer." * 30, f"{123_456_789:,}"
    table = Table("layer", *"abc")
    table.add_row(name, *[number] * 3)
    output.console.print(table)
    assert screen.getvalue().count(number) == 3
    assert (name in screen.getvalue()) == (not terminal)


def test_progress(screen):
    with output.spinner(NAME) as step:
        step(NAME)
    assert f"{NAME}: " in screen.getvalue().replace("\x1b[2m", "")
    with output.progress(NAME) as report:
        report(1, 2)
    assert screen.getvalue().count(NAME) >= 3


def test_progress_in_a_pipe(screen, monkeypatch):
    """A line now and then, with the last step; none of what is over sooner."""
    monkeypatch.setattr(output._progress_console, "_force_terminal", False)
    with output.spinner(NAME) as step, output.progress(NAME) as report:
        step(NAME)
        report(1, 2)
    assert screen.getvalue() == ""
    monkeypatch.setattr(output, "_PERIOD_S", 0.01)
    expected = f"{NAME}, step {NAME}, 0 s so far", f"{NAME}, 1/2, 0 s so far"
    with output.spinner(NAME) as step, output.progress(NAME) as report:
        step(f"step {NAME}")
        report(1, 2)
        end = time.monotonic() + 60
        while not all(line in screen.getvalue() for line in expected):
            assert time.monotonic() < end
            time.sleep(0.01)
    lines = screen.getvalue()
    time.sleep(0.05)
    assert screen.getvalue() == lines
