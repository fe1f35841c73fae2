"""``nbqnn import``: reads a model, compares it on request, writes the graph."""

import re
from dataclasses import replace
from pathlib import Path

from nbqnn_train.graph import save
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.limits import ACT_BITS, EXPONENT, WEIGHT_BITS
from nbqnn_train.qonnx.importer import import_model
from nbqnn_train.qonnx.verify import Verification, verify
from scripts.images import read_inputs
from scripts.import_result import ImportResult

__all__ = ["run_import"]


def run_import(
    model: Path,
    out: Path,
    approximate: bool,
    input_format: str | None,
    round_weights: int | None,
    images: Path | None,
) -> ImportResult:
    """Writes the graph of ``model`` to ``out``; with ``images`` compares the two.

    The graph is written even if it differs. Raises :exc:`NbqnnError` for what is refused.
    """
    if round_weights is not None and not WEIGHT_BITS[0] <= round_weights <= WEIGHT_BITS[1]:
        raise NbqnnError(
            f"--round-weights must be in {WEIGHT_BITS[0]}..{WEIGHT_BITS[1]}, not {round_weights}"
        )
    x = None if images is None else read_inputs(images)
    imported = import_model(
        model,
        exact=not approximate,
        input_format=_format(input_format),
        round_weights=round_weights,
        round_outputs=True,
    )
    result = ImportResult(nodes=len(imported.graph.nodes), notes=tuple(imported.notes))
    if x is not None:
        found = verify(model, imported, x)
        given = {"--approximate": approximate, "--round-weights": round_weights is not None}
        changed = [option for option, taken in given.items() if taken]
        result = replace(
            result,
            images=found.images,
            values=found.values,
            mismatches=found.mismatches,
            first_mismatch=found.first,
            verified=_sentence(found, changed),
        )
    save(imported.graph, out)
    return result


def _format(text: str | None) -> tuple[bool, int, int] | None:
    """(signed, bits, exponent) of a text such as ``s8:-7``."""
    if text is None:
        return None
    parts = re.fullmatch(r"([su])(\d{1,2}):(-?\d{1,3})", text.lower())
    if parts is not None:
        signed, bits, exponent = parts[1] == "s", int(parts[2]), int(parts[3])
        in_range = EXPONENT[0] <= exponent <= EXPONENT[1]
        if in_range and ACT_BITS[0] <= bits <= ACT_BITS[1]:
            return signed, bits, exponent
    raise NbqnnError(
        f"--input-format must be s or u, {ACT_BITS[0]}..{ACT_BITS[1]} bits and the exponent of the "
        f"step, such as s8:-7, not {text!r}"
    )


def _sentence(found: Verification, changed: list[str]) -> str:
    """The result in one sentence; ``changed`` are the options that change what is computed."""
    text = (
        f"{found.images} images, {found.values} values compared with the model, "
        f"{found.mismatches} mismatches"
    )
    if found.rounded:
        text += f"; within one step, as the model does not quantize {', '.join(found.rounded)}"
    if found.mismatches and changed:
        text += f"; {' and '.join(changed)} may change what the model computes"
    if found.first is not None:
        first = found.first
        text += (
            f"; the first is image {first.image}, output {first.output!r}, value "
            f"{first.position}: {first.code} steps, the model {first.model:g}"
        )
    return text
