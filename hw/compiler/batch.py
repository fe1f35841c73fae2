"""Several images in one run: some layers compute one image, others all images at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hw.compiler.costs import compute_cycles, weight_cycles
from hw.compiler.divided import is_divided
from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer, Lowered
from hw.contract.config import AcceleratorConfig
from hw.contract.program import MAX_BATCH
from hw.contract.registers import LAYERS
from nbqnn_train.graph import Graph, Linear

__all__ = ["batched", "check_batch"]

#: Cycles for each image that sharing the weights of the last layers must save.
_LEAST_SHARED = 1000


def check_batch(batch: int) -> int:
    """The number of images, an ``int`` also where it came from NumPy.

    Raises :class:`CompileError` for a number that a program cannot have.
    """
    if not isinstance(batch, int | np.integer) or not 1 <= batch <= MAX_BATCH:
        raise CompileError(f"batch must be 1...{MAX_BATCH} images, not {batch!r}")
    return int(batch)


def batched(
    config: AcceleratorConfig,
    graph: Graph,
    lowered: Lowered,
    batch: int,
    most_shared: int | None = None,
) -> Lowered:
    """The layers for ``batch`` images. Maps of images lie one below the other, as rows of one map.

    A linear layer runs once: it is a convolution that steps from image to image, so its weights are
    loaded once. So does every layer that reads its result. Where the last ones of the other layers
    are longer loaded than computed, they take each load of weights for one image after the other.
    There are at most ``most_shared`` of these. All before them run image after image.

    Raises :class:`CompileError` for more layers than the accelerator has time stamps.
    """
    if batch == 1:
        _check_count(list(lowered.layers), [], batch)
        return lowered
    single, together = _divide(graph, lowered)
    shared = _shared(config, single)
    shared = shared if most_shared is None else min(shared, most_shared)
    single, shared = single[: len(single) - shared], single[len(single) - shared :]
    # Checked before the layers of each image are made, because they could be very many.
    _check_count(single, [*shared, *together], batch)
    return replace(
        lowered,
        layers=(
            *(layer.everywhere(image=image) for image in range(batch) for layer in single),
            *(
                replace(layer.everywhere(image=None, images=batch), macs=batch * layer.macs)
                for layer in shared
            ),
            *(_for_all(layer, lowered, batch) for layer in together),
        ),
        shapes={
            name: (channels, batch * height, width)
            for name, (channels, height, width) in lowered.shapes.items()
        },
        batch=batch,
        whole=_whole(lowered, single, [*shared, *together]),
    )


def _shared(config: AcceleratorConfig, layers: Sequence[Layer]) -> int:
    """How many of the last layers load weights for longer than they compute, taken together.

    The number for which the difference is largest; 0 if that is small. Sums that stay in the
    accumulators between two loads are those of one image, so there is no such layer among them.
    """
    waits = [0]
    for layer in reversed(layers):
        if is_divided(config, layer):
            break
        waits.append(waits[-1] + weight_cycles(config, layer) - compute_cycles(config, layer))
    most = max(waits)
    return waits.index(most) if most >= _LEAST_SHARED else 0


def _check_count(single: list[Layer], together: list[Layer], batch: int) -> None:
    """Raises :class:`CompileError` for more layers than fit; it names the first one beyond."""
    count = batch * len(single) + len(together)
    if count <= LAYERS:
        return
    image, number = divmod(LAYERS, len(single)) if single else (batch, 0)
    if image < batch:
        layer = single[number].name + (f" of image {image + 1}" if batch > 1 else "")
    else:
        layer = together[LAYERS - batch * len(single)].name
    most = (LAYERS - len(together)) // max(1, len(single))
    remedy = f"--batch {most}" if most >= 1 else "two graphs, the second one from this layer on"
    raise CompileError(
        f"layer {layer}: it is number {LAYERS + 1} of {count} layers, and at most "
        f"{LAYERS} fit; remedy: {remedy}"
    )


def _divide(graph: Graph, lowered: Lowered) -> tuple[list[Layer], list[Layer]]:
    """Layers that run for each image, and those that run once.

    There are none of the latter if one of them has rows of its own.
    """
    linear = {node.name for node in graph.nodes if isinstance(node, Linear)}
    single, together = [], []
    #: (root, first channel, end) of what layers that run once have written.
    written: list[tuple[str, int, int]] = []
    for layer in lowered.layers:
        reads = [_channels(lowered, source) for source in layer.sources]
        if layer.name in linear or any(
            root == other and first < until and begin < end
            for root, first, end in reads
            for other, begin, until in written
        ):
            if layer.shared_factor:
                raise CompileError(
                    f"layer {layer.name}: a factor for each channel behind a linear layer is for "
                    f"one image, not for a batch; remedy: --batch 1"
                )
            together.append(layer)
            written.append(_channels(lowered, layer.target))
        else:
            single.append(layer)
    if any(not _is_vector(lowered, layer, layer.name in linear) for layer in together):
        # Rows of several images are not one map's.
        return list(lowered.layers), []
    return single, together


def _is_vector(lowered: Lowered, layer: Layer, linear: bool) -> bool:
    """Whether the result has one row; of what is no linear layer, also what its windows read."""
    if linear or len(layer.sources) > 1:
        return lowered.shapes[layer.target][1] == 1
    return all(lowered.shapes[name][1] == 1 for name in (layer.target, *layer.sources)) and all(
        part.kernel[0] == 1 and part.padding[0] == 0 for part in layer.parts
    )


def _channels(lowered: Lowered, name: str) -> tuple[str, int, int]:
    view = lowered.view(name)
    return view.root, view.channel, view.channel + lowered.shapes[name][0]


def _for_all(layer: Layer, lowered: Lowered, batch: int) -> Layer:
    """The layer over all images: from image to image it steps by the height of a map."""
    channels, height, width = layer.out_shape
    return replace(
        layer,
        image=None,
        stride=(lowered.shapes[layer.source][1], layer.stride[1]),
        out_shape=(channels, batch * height, width),
        macs=batch * layer.macs,
        more=tuple(_for_all(part, lowered, batch) for part in layer.more),
    )


def _whole(lowered: Lowered, single: list[Layer], together: list[Layer]) -> frozenset[str]:
    """Tensors that, if they are on the chip, are there with the rows of all images.

    single, together : layers that run for each image, and the others.
    """
    whole = {
        lowered.view(name).root for layer in together for name in (layer.target, *layer.sources)
    }
    if not single:
        # Without layers that run for each image, that is every tensor.
        whole |= set(lowered.shapes)
    while True:
        # Operands of a sum have one distance from channel group to channel group.
        added = {
            root
            for layer in single
            for roots in [{lowered.view(name).root for name in layer.sources}]
            if roots & whole
            for root in roots
        }
        if added <= whole:
            return frozenset(whole)
        whole |= added
