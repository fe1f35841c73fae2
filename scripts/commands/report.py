"""``nbqnn report``: one page from what a folder holds."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.outputs import output_file
from scripts.output import console

__all__ = ["report"]


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with runs, graphs, builds, JSON results.")
    ],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OTHER]", help="Folder to compare with: what is different there comes first."
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=output_file, metavar="FILE.html", help="The page."),
    ],
) -> None:
    """Show what a folder holds on a page that needs no other file.

    On top the network, whether it is exact, and five figures; then the network, sample images with
    their classes, training, quantization, schedule, area and searches.
    """
    from scripts.report import build_report

    for kind, names in build_report(folder, out, other).items():
        console.print(f"{kind}: {', '.join(names)}", soft_wrap=True)
    console.print(f"report in {out}", soft_wrap=True)
