"""``nbqnn report``: one page from what a folder holds."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.options import output_file
from scripts.output import console

__all__ = ["report"]


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with runs, graphs, builds, JSON results.")
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=output_file, metavar="FILE.html", help="The page."),
    ],
) -> None:
    """Draw learning curves, areas, cycles and searches on a page that needs no other file."""
    from scripts.report import build_report

    for kind, names in build_report(folder, out).items():
        console.print(f"{kind}: {', '.join(names)}", soft_wrap=True)
    console.print(f"report in {out}", soft_wrap=True)
