"""``nbqnn demo``: everything, on data that ships with a dependency."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.output import console

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for all that is made.")
    ] = Path("demo"),
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
) -> None:
    """Train on 8×8 digits, export, generate, compile, simulate, synthesize: a few minutes."""
    from scripts.demonstration import run_demo
    from scripts.tables import demo_tables

    summary = run_demo(out, epochs)
    for table in demo_tables(summary):
        console.print(table)
    console.print(
        f"all of it is in {out}; the figures are in {out / 'summary.json'}", soft_wrap=True
    )
    if summary.simulate.mismatches:
        raise typer.Exit(1)
