"""Tables of ``check``: layers and their costs, or refusals and their remedies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from scripts.tables import plain_table

if TYPE_CHECKING:  # as in tables
    from scripts.check_result import CheckResult, RefusedPlace

__all__ = ["layer_costs_table", "modules_table", "refusals_table"]

#: Explains the columns of the layers' table.
_CAPTION = (
    "bits: of weights, values and sums. memory: bytes of weights, of what requantizes, and of the "
    "output. cycles: for one image, by the cycle model. LUT: of a circuit, estimated."
)


#: Most kinds of refusals, and most places of each: one screen. The JSON result has all refusals.
_KINDS = 10
_PLACES = 4


def layer_costs_table(result: CheckResult) -> Table:
    """The layers of the integer graph: widths, memory, work."""
    hardware = result.hardware
    circuit = hardware.lut is not None
    table = plain_table(
        *("layer", "becomes", "shape", "bits", "memory", "MACs", "LUT" if circuit else "cycles"),
        title=f"What {result.model} becomes on {hardware.name}",
    )
    table.caption, table.caption_justify = _CAPTION, "left"
    for layer in result.layers:
        widths = (layer.weight_bits, layer.act_bits, layer.acc_bits)
        table.add_row(
            layer.name,
            layer.becomes[0],
            _shape(layer.shape),
            "/".join("-" if width is None else str(width) for width in widths),
            _short((layer.weight_bytes or 0) + (layer.map_bytes or 0)),
            _short(layer.macs),
            _short(layer.lut if circuit else layer.cycles),
        )
    table.add_section()
    macs = sum(layer.macs or 0 for layer in result.layers)
    weights = sum(layer.weight_bytes or 0 for layer in result.layers)
    total = _short(hardware.lut if circuit else hardware.cycles_per_image)
    table.add_row("in all", "", "", "", f"weights {_short(weights)}", _short(macs), total)
    return table


def modules_table(result: CheckResult) -> Table:
    """The modules of a network that is refused, and which of them are at fault."""
    title = f"What {result.model} consists of"
    table = plain_table("module", "kind", "parameters", "shape", "", title=title)
    for module in result.modules:
        table.add_row(
            module.path,
            module.kind,
            _number(module.parameters or None),
            _shape(module.shape),
            "refused" if module.refused else "",
        )
    return table


def refusals_table(refusals: Sequence[RefusedPlace]) -> Table:
    """Each kind of refusal once, with its places."""
    table = plain_table("what is refused", "where", "what to do", title="What is refused")
    for column in table.columns:
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in refusals:
        place = " ".join(filter(None, (one.path, one.source and f"({one.source})")))
        kinds.setdefault((one.reason, one.remedy), []).append(place)
    for (reason, remedy), places in list(kinds.items())[:_KINDS]:
        shown = list(dict.fromkeys(places))
        more = [f"and {len(shown) - _PLACES} more"] if len(shown) > _PLACES else []
        table.add_row(reason, "\n".join([*shown[:_PLACES], *more]), remedy)
    if len(kinds) > _KINDS:
        table.add_row(f"and {len(kinds) - _KINDS} more; --json FILE has all of them", "", "")
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _short(value: float | None) -> str:
    """A number in up to four digits, with a letter for thousands, millions or billions."""
    if not value:
        return ""
    for letter in ("", "k", "M", "G"):
        if value < 9999.5 or letter == "G":
            digits = 1 if letter and value < 99.95 else 0
            return f"{value:.{digits}f}{letter}"
        value /= 1000
    raise AssertionError("the last letter takes all")


def _shape(shape: Sequence[int] | None) -> str:
    return "" if shape is None else "×".join(map(str, shape))
