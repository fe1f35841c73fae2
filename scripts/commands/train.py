"""``nbqnn train``: learn a network."""

from pathlib import Path
from typing import Annotated

import typer

from nbqnn_train.learn.options import TrainOptions
from scripts.commands.generated import with_options
from scripts.interrupts import saying_how_to_go_on
from scripts.output import console, print_notes

__all__ = ["train"]


@with_options(TrainOptions)
def train(
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with a table \\[train] of options; those given here win."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run; its options are those it has."),
    ] = False,
    **given,
) -> None:
    """Learn a network with weights that are zero or signed powers of two."""
    from nbqnn_train.learn.runs import run_config
    from nbqnn_train.learn.training import train as run_training

    with saying_how_to_go_on():
        result = run_training(run_config(out, config, given, resume), out, resume=resume)
    if result is not None:  # None in processes other than the first
        print_notes(result.notes)
        console.print(
            f"accuracy {result.accuracy:.2%} of {result.images} images "
            f"after {result.epochs} epochs in {result.seconds:.0f} s; run in {out}",
            soft_wrap=True,
        )
