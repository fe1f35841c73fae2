"""The section with sample images and their classes."""

import base64
import io
from html import escape

from nbqnn_train.pages import Section
from scripts.report.samples import Sample, Samples

__all__ = ["predictions_section"]

#: Longest side of an image on the page, in pixels. Up to the smaller size it is kept as it is.
_SIDE = 64
_EXACT_SIDE = 16


def predictions_section(samples: Samples) -> Section:
    """The images with their classes, the wrong ones first."""
    counted = f"{samples.images:,} {samples.source}"
    if samples.correct is None:
        text = (
            f"{counted}, classified by the interpreter. Nothing here says what they are; the least "
            "certain ones come first."
        )
    else:
        text = f"{samples.correct:,} of {counted} are classified rightly, by the interpreter."
        wrong = samples.images - samples.correct
        shown = sum(sample.wrong for sample in samples.shown)
        if shown < wrong:
            text += f" Of the {wrong:,} wrong ones the {shown} most certain ones come first."
        elif wrong:
            text += f" The wrong ones, {wrong}, come first."
    figures = "".join(_figure(sample) for sample in samples.shown)
    parts = [f"<p>{escape(text)}</p>", f'<div class="samples">{figures}</div>']
    return Section("Predictions", parts, samples.graph)


def _figure(sample: Sample) -> str:
    caption = f"<b>{escape(sample.name)}</b> {sample.score:.0%}"
    if sample.wrong:
        caption += f"<br>is {escape(sample.label)}"
    shade = ' class="wrong"' if sample.wrong else ""
    alt = escape(sample.name if sample.label is None else sample.label)
    return (
        f'<figure{shade}><img alt="{alt}" src="data:image/webp;base64,{_webp(sample)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _webp(sample: Sample) -> str:
    from PIL import Image  # there with the extra for training

    pixels = sample.pixels
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    exact = max(picture.size) <= _EXACT_SIDE
    picture.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=exact, quality=80)
    return base64.b64encode(content.getvalue()).decode()
