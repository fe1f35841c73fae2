"""``scripts/setup``: what it says where something is missing, and that it does nothing twice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "scripts" / "setup"
#: What the script itself uses.
BASICS = ("dirname", "cat")


@pytest.fixture
def checkout(tmp_path):
    """A folder with the script and something to install; runs the script with only these tools."""
    root, tools = tmp_path / "checkout", tmp_path / "bin"
    (root / "scripts").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(SETUP, root / "scripts" / "setup")
    (root / "pyproject.toml").write_text("[project]\n")

    def run(*names, **environment):
        for name in (*BASICS, *names):
            target = sys.executable if name.startswith("python") else shutil.which(name)
            if target is None:
                pytest.skip(f"{name} is not installed")
            (tools / name).symlink_to(target)
        return subprocess.run(
            ["/bin/sh", root / "scripts" / "setup"],
            env={"PATH": str(tools), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    run.root = root
    return run


def test_a_missing_python_is_named_with_its_remedy(checkout):
    done = checkout()
    assert done.returncode == 2
    assert done.stderr.startswith("nbqnn: error: needs Python 3.11 or later, not found; remedy: ")
    assert done.stderr.count("\n") == 1


def test_a_python_that_was_asked_for_must_be_recent(checkout):
    done = checkout("python3", "false", PYTHON="false")
    assert done.returncode == 2
    assert done.stderr == "nbqnn: error: PYTHON must be a Python 3.11 or later, not false\n"


def test_nothing_happens_twice(checkout):
    """The note of an earlier set-up, exactly as the script leaves it, ends it at once.

    No compiler is on the path: the packages bring one.
    """
    root = checkout.root
    version = subprocess.run(
        [sys.executable, "-VV"], capture_output=True, text=True, timeout=60
    ).stdout
    (root / ".venv").mkdir()
    note = f"{root.resolve()}\n{version}{(root / 'pyproject.toml').read_text()}"
    (root / ".venv" / "nbqnn-installed").write_text(note)
    done = checkout("python3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in (root / ".venv").iterdir()] == ["nbqnn-installed"]
