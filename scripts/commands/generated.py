"""Makes options of a command from the fields of a dataclass, so that each is written once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated

import typer

__all__ = ["with_options"]


def with_options(options: type) -> Callable[[Callable], Callable]:
    """Gives a command an option for each field of the dataclass ``options`` that has metadata
    ``option``, a :class:`nbqnn_train.learn.options.Option`; None means that it was not given."""

    def add(command: Callable) -> Callable:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [_parameter(field) for field in fields(options) if "option" in field.metadata]
        command.__signature__ = signature.replace(parameters=own + made)
        return command

    return add


def _parameter(field: Field) -> inspect.Parameter:
    known = field.metadata["option"]
    said = [known.text.rstrip(".")]
    if known.range is not None:
        said.append(f"{known.range}")
    if field.default not in (None, MISSING, False):
        said.append(f"default {field.default}")
    option = typer.Option(
        *known.names, help="; ".join(said), rich_help_panel=known.panel, show_default=False
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[field.type | None, option],
    )
