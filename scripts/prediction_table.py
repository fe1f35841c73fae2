"""Table of ``predict``: the classes of each image with their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from scripts.tables import plain_table

if TYPE_CHECKING:  # as in tables
    from scripts.prediction_result import PredictionResult

__all__ = ["predictions_table"]

#: Most images that are listed; the JSON has all.
_MOST_IMAGES = 100


def predictions_table(result: PredictionResult) -> Table:
    """The classes in the result of ``predict``."""
    shown = result.predictions[:_MOST_IMAGES]
    title = f"By the {result.by}; scores by {result.score}"
    table = plain_table("image", "class", "score", "output", title=title)
    if len(shown) < len(result.predictions):
        table.caption = f"and {len(result.predictions) - len(shown)} more images: --json"
    for prediction in shown:
        for rank, one in enumerate(prediction.classes):
            table.add_row(
                "" if rank else prediction.image,
                one.name,
                f"{one.score:.1%}",
                f"{one.output:g}",
            )
    return table
