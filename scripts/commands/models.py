"""``nbqnn models``: what can be trained, and what is trained already."""

from typing import Annotated

import typer

from scripts.commands.options import JsonOption, complete_preset
from scripts.output import console, write_json

__all__ = ["models"]


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Tell all about this one.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(autocompletion=complete_preset, help="Configuration whose cycles are shown."),
    ] = "zcu102-8bit",
    json: JsonOption = None,
) -> None:
    """List networks that can be trained, and trained ones that come with nbqnn.

    The name of a trained one stands wherever a graph is asked for: `nbqnn predict resnet20-3bit
    cat.png`. A file or folder of the same name goes first. Cycles and errors are figures that come
    with the package; `nbqnn check`, `compile` and `evaluate` compute them anew.
    """
    from hw.boards.presets import load_config
    from scripts.models.listing import list_models
    from scripts.models.tables import card_lines, cycles_table, networks_table, trained_table

    load_config(preset=preset)
    result = list_models(name)
    write_json(json, result)
    if name is None or result.networks:
        console.print(networks_table(result, preset))
        console.print(trained_table(result, preset))
    else:
        for line in card_lines(result.trained[0]):
            console.print(line, soft_wrap=True)
    if name is not None:
        console.print(cycles_table((*result.networks, *result.trained)[0].cycles))
