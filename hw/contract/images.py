"""Images of networks with several inputs: one array, in which they stand side by side."""

from collections.abc import Mapping

import numpy as np

from nbqnn_train.graph import Graph, NbqnnError
from nbqnn_train.graph.shapes import same_order

__all__ = ["by_input", "checked_images", "with_batch_axis"]


def checked_images(graph: Graph, given: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """The images of all inputs, float32, with the axis N in front.

    given : for one input an array of floats. For several inputs a mapping from their names to such
        arrays, all with the same number of images, or an array that this function has returned.

    Returns an array (N, ...). For several inputs it is an array of records (N,) with a field for
    each input. Axes of length one may be added or left out: a network of vectors (N, F) also takes
    (N, F, 1, 1), and a network of series (N, C, L) is a graph of maps (N, C, 1, L).

    Raises :exc:`NbqnnError` for other names, shapes or kinds of numbers.
    """
    names = [node.name for node in graph.input_nodes]
    arrays = _named(names, given)
    checked = {}
    for node in graph.input_nodes:
        x = arrays[node.name]
        of = f" of input {node.name!r}" if len(names) > 1 else ""
        if x.dtype.kind != "f":
            raise NbqnnError(
                f"Images{of} must be float32, not {x.dtype}; remedy: the units in which the "
                "network was trained, as np.float32"
            )
        if not same_order(x.shape[1:], node.shape):
            raise NbqnnError(
                f"Images{of} must have shape (N, {', '.join(map(str, node.shape))}), not {x.shape}"
            )
        checked[node.name] = x.astype(np.float32).reshape(len(x), *node.shape)
    if len(names) == 1:
        return checked[names[0]]
    counts = {name: len(x) for name, x in checked.items()}
    if len(set(counts.values())) > 1:
        raise NbqnnError(f"Images must be as many for every input, not {counts}")
    kinds = [(name, np.float32, x.shape[1:]) for name, x in checked.items()]
    images = np.zeros(len(checked[names[0]]), kinds)
    for name, x in checked.items():
        images[name] = x
    return images


def by_input(graph: Graph, images: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Input's name -> its images, from anything that :func:`checked_images` takes or returns."""
    return _named([node.name for node in graph.input_nodes], images)


def with_batch_axis(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``images`` as ``(N, *shape)``: several, or one that leaves out the axis N.

    Axes of length one may be added or left out. What fits neither keeps its values' axes, for a
    check to refuse it.
    """
    if images.ndim and same_order(images.shape[1:], shape):
        return images.reshape(len(images), *shape)
    if same_order(images.shape, shape):
        return images.reshape(1, *shape)
    return images[None] if images.ndim == len(shape) else images


def _named(names: list[str], given: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: list[str] | None = None
    if isinstance(given, Mapping):
        found = list(given)
    elif np.asarray(given).dtype.names:
        found = list(np.asarray(given).dtype.names)
    elif len(names) == 1:
        return {names[0]: np.asarray(given)}
    if found is None or set(found) != set(names):
        raise NbqnnError(
            f"Images must be given for the inputs {', '.join(names)}, "
            f"not {'for ' + ', '.join(found) if found else 'without names'}"
        )
    return {name: np.asarray(given[name]) for name in names}
