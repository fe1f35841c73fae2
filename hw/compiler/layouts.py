"""How feature maps lie on the chip: the pitch from row to row."""

import numpy as np

from hw.compiler.layer import Layer, Lowered
from hw.config import AcceleratorConfig
from hw.layout import TensorLayout

__all__ = ["choose_layouts", "pixels_at_once"]


def choose_layouts(config: AcceleratorConfig, lowered: Lowered) -> dict[str, TensorLayout]:
    """For each tensor the narrowest pitch with which its readers reach the most pixels."""
    # Operands of one addition are read with the same steps, so they have the same pitch; so do
    # the parts of a tensor.
    together = {name: {name} for name in lowered.shapes}
    parts = [{name, view.root} for name, view in lowered.views.items()]
    for names in [set(layer.sources) for layer in lowered.layers] + parts:
        merged = set().union(*(together[name] for name in names))
        together.update(dict.fromkeys(merged, merged))
    pitches: dict[frozenset[str], int] = {}
    layouts = {}
    for name, (channels, height, width) in lowered.shapes.items():
        group = frozenset(together[name])
        if group not in pitches:
            readers = [layer for layer in lowered.layers if layer.source in group]
            pitches[group] = max(
                range(width, width + config.banks),
                key=lambda pitch: (
                    sum(pixels_at_once(config, layer, pitch) for layer in readers),
                    -pitch,
                ),
            )
        layouts[name] = TensorLayout(
            channels=channels,
            height=height,
            width=width,
            pitch=pitches[group],
            offset=lowered.offsets[name],
        )
    return layouts


def pixels_at_once(config: AcceleratorConfig, layer: Layer, pitch: int) -> int:
    """The most output positions at once whose input words are always in different banks."""
    _, height, width = layer.out_shape
    rows, columns = np.divmod(np.arange(height * width), width)
    words = rows * layer.stride[0] * pitch + columns * layer.stride[1]
    for pixels in range(config.pixels, 1, -1):
        groups = -(-len(words) // pixels)
        # Missing positions of the last group get banks of their own.
        padded = np.arange(groups * pixels) + 2 * config.banks
        banks = np.full(groups * pixels, -1)
        banks[: len(words)] = words % config.banks
        banks[len(words) :] = padded[len(words) :]
        ordered = np.sort(banks.reshape(groups, pixels), axis=1)
        if (ordered[:, 1:] != ordered[:, :-1]).all():
            return pixels
    return 1
