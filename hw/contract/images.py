"""Images of networks with several inputs: one array, in which they stand side by side."""

from collections.abc import Mapping

import numpy as np

from nbqnn_train.graph import Graph, NbqnnError
from nbqnn_train.graph.shapes import same_order

__all__ = ["by_input", "checked_images"]


def checked_images(graph: Graph, given: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """The images of all inputs, float32, with the axis N in front.

    given : an array for a network of one input. For several inputs a mapping from their names to
        arrays with as many images, or what this function has returned.

    Returns an array (N, ...), for several inputs one of records (N,), with a field for each
    input. Axes of length one may be missing or more: a network of vectors (N, F) also takes images
    of one pixel (N, F, 1, 1), one of series (N, C, L) is a graph of maps (N, C, 1, L).

    Raises :exc:`NbqnnError` for other names or shapes.
    """
    names = [node.name for node in graph.input_nodes]
    arrays = _named(names, given)
    checked = {}
    for node in graph.input_nodes:
        x = np.asarray(arrays[node.name], np.float32)
        if not same_order(x.shape[1:], node.shape):
            of = f" of input {node.name!r}" if len(names) > 1 else ""
            raise NbqnnError(
                f"Images{of} must have shape (N, {', '.join(map(str, node.shape))}), not {x.shape}"
            )
        checked[node.name] = x.reshape(len(x), *node.shape)
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
    """Input's name -> its images, of what :func:`checked_images` takes or returns."""
    return _named([node.name for node in graph.input_nodes], images)


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
