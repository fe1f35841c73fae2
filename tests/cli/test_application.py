"""The command line as a program: help, exit codes, speed, interrupts."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hw.contract.origin import source_commit
from scripts.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = [
    "check",
    "models",
    "predict",
    "quantize",
    "search",
    "train",
    "evaluate",
    "export",
    "import",
    "inspect",
    "generate",
    "compile",
    "simulate",
    "synth",
    "demo",
]


def test_help_lists_every_command(nbqnn):
    outcome = nbqnn("--help")
    assert outcome.code == 0
    assert all(f" {command} " in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(nbqnn, command):
    outcome = nbqnn(command, "--help")
    assert outcome.code == 0
    assert f"nbqnn {command}" in outcome.out


def test_version_is_the_packages(nbqnn):
    """And the commit's, in a checkout."""
    commit = source_commit()
    assert nbqnn("--version").out == f"nbqnn {importlib.metadata.version('nbqnn')}" + (
        f" (commit {commit})\n" if commit else "\n"
    )


def test_no_command_is_refused(nbqnn):
    outcome = nbqnn()
    assert outcome.code == 2
    assert outcome.err == "nbqnn: error: a command is needed; nbqnn --help lists them\n"


@pytest.mark.parametrize(
    ("pattern", "arguments"),
    [
        ("No such command 'frobnicate'.", ["frobnicate"]),
        ("No such option: --fast.*", ["generate", "-o", "build", "--fast"]),
        ("Missing option '-o' / '--out'.", ["generate", "--preset", "tiny"]),
        ("Missing argument 'GRAPH'.", ["compile", "--hw", "build", "-o", "program"]),
        (
            "Invalid value for '--epochs': .*",
            ["train", "--model", "digits", "--data", "digits", "--out", "run", "--epochs", "ten"],
        ),
        (
            "Invalid value for '--tool': .*'yosys', 'nextpnr', 'vivado'.",
            ["synth", "build", "--tool", "ise"],
        ),
    ],
)
def test_usage_errors_are_one_line(refused, pattern, arguments):
    refused(pattern, *arguments)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["gene"], ["generate"]),
        (["simulate", "--sa"], ["--saif"]),
        (["generate", "--preset", "zcu102-w"], ["zcu102-w4"]),
        (["explore", "graph", "--board", "pynq"], ["pynq-z2"]),
        (["synth", "build", "--tool", "yo"], ["yosys"]),
    ],
)
def test_bash_completes_what_was_begun(words, found, tmp_path):
    """As a person's shell does it, with the script that the program gives."""
    program = Path(sys.executable).with_name("nbqnn")
    if not program.exists() or shutil.which("bash") is None:
        pytest.skip("needs bash, and nbqnn installed in this environment")
    script = """
        eval "$(nbqnn --show-completion bash)"
        COMP_WORDS=(nbqnn "$@") COMP_CWORD=$#
        _nbqnn_completion nbqnn
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.pathsep.join((str(program.parent), os.environ["PATH"]))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (found, "")


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        (
            ("fish", "--no-config", "-c"),
            'nbqnn --show-completion fish | source; complete -C "nbqnn gene"',
        ),
        (
            # The two functions of zsh that work only while somebody types.
            ("zsh", "-f", "-c"),
            "compdef() { : }; _arguments() { print -r -- $@ }; "
            'eval "$(nbqnn --show-completion zsh)"; '
            "words=(nbqnn gene) CURRENT=2; _nbqnn_completion",
        ),
    ],
    ids=["fish", "zsh"],
)
def test_other_shells_complete_too(shell, script, tmp_path):
    program = Path(sys.executable).with_name("nbqnn")
    if not program.exists() or shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}, and nbqnn installed in this environment")
    done = subprocess.run(
        [*shell, script],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.pathsep.join((str(program.parent), os.environ["PATH"]))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.count("generate"), done.stderr) == (1, ""), done


def test_the_citation_is_of_this_version():
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in text
    assert f"\nlicense: {project['license']}\n" in text
    assert "https://arxiv.org/abs/2004.02396" in text


def test_help_loads_nothing_heavy():
    """PyTorch alone takes seconds to load; a person who asks for help does not wait for it."""
    heavy = ("torch", "lightning", "amaranth", "pyosys", "sklearn")
    program = (
        "import sys; from scripts.cli import main; main(['--help']); "
        f"sys.exit(', '.join(sys.modules.keys() & set({heavy!r})) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt_is_130(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nbqnn_train.evaluation.evaluate", interrupt)
    assert main(["evaluate", "runs/one", "--data", "digits"]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("nbqnn_train.evaluation.evaluate", fail)
    with pytest.raises(ZeroDivisionError):
        main(["evaluate", "runs/one", "--data", "digits"])


def test_a_missing_extra_says_what_to_install(monkeypatch, refused):
    def without_torch(*_):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("nbqnn_train.evaluation.evaluate", without_torch)
    refused(
        r"this command needs torch\.nn, which is not installed; "
        r"remedy: pip install 'nbqnn\[train\]'",
        *["evaluate", "runs/one", "--data", "digits"],
    )


def test_console_script_is_installed_and_refuses_in_one_line(tmp_path):
    """The whole way once, as a person calls it."""
    program = Path(sys.executable).with_name("nbqnn")
    if not program.exists():
        pytest.skip("nbqnn is not installed in this environment")
    done = subprocess.run(
        [program, "generate", "--preset", "huge", "-o", "build"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nbqnn: error: preset must be one of ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "build").exists()
