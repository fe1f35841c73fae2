"""Where a quantized network comes from: the module, and the sizes for which the reading holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.reading.operations import Join, Part, Reading
from nbqnn_train.quant.reading.program import Example
from nbqnn_train.quant.reading.read import read_network
from nbqnn_train.quant.reading.refusals import NetworkRefused
from nbqnn_train.quant.window import Window

if TYPE_CHECKING:
    from nbqnn_train.quant.network import QuantNetwork

__all__ = ["Origin"]


class Origin:
    """Reads the module again for inputs of other sizes: what it computes may depend on them.

    A pooling window as large as the map can be a constant or follow the map. Which of the two it is
    shows when a second size comes; until then both are the same.

    Parameters
    ----------
    module : a private copy, in evaluation mode.
    example : with which it was read.
    reading : what was read.
    guessed : whether nobody gave the example: what begins with a linear layer is then read for
        vectors, and flattens maps where maps come first.
    """

    def __init__(
        self, module: nn.Module, example: Example, reading: Reading, *, guessed: bool = False
    ):
        self.module = module
        self.example = example
        self.reading = reading
        self.guessed = guessed
        self._results = {example.shapes(): reading.results}
        #: Names of pooling layers whose window is known to be constant, or to follow the map.
        self._constant: set[str] = set()
        self._following: set[str] = set()
        self._compare(reading)

        #: Of the network's weights as they were converted; see :mod:`nbqnn_train.quant.self_check`.
        self.fingerprint: tuple[int, ...] | None = None

    def __deepcopy__(self, memo) -> Origin:
        return self

    def results(
        self, network: QuantNetwork, shapes: tuple[tuple[int, ...], ...]
    ) -> list[Part | Join]:
        """What the module returns for inputs of ``shapes``, without the batch.

        Raises :class:`NbqnnError` where the module computes something else for them than for those
        with which it was read.
        """
        if shapes not in self._results:
            reading = self._read(shapes)
            if not self._compare(reading) and not self._flattens(network, reading):
                raise NbqnnError(
                    f"{type(self.module).__name__} was read with inputs of "
                    f"{_shown(self.example.shapes())} and computes something else for "
                    f"{_shown(shapes)}; convert it with an example of that size"
                )
            self._results[shapes] = reading.results
        for name in self._following:
            window = network.ops[name].window
            if window.size is None:
                network.ops[name].window = Window(size=(1, 1), path=window.path)
        return self._results[shapes]

    def _flattens(self, network: QuantNetwork, reading: Reading) -> bool:
        """Lets ``network`` flatten its input, the first time, if nothing else differs."""
        if not self.guessed or len(reading.inputs) > 1 or len(reading.operations) < 2:
            return False
        self.guessed = False
        first, flat = reading.operations[:2]
        if flat.kind != "flatten":
            return False
        unflattened = [
            replace(o, inputs=[first.name if s == flat.name else s for s in o.inputs])
            for o in (first, *reading.operations[2:])
        ]
        if not self._compare(replace(reading, operations=unflattened)):
            return False
        network.flatten_input(flat.name, reading)
        self.reading, self._results = reading, {}
        return True

    def _read(self, shapes: tuple[tuple[int, ...], ...]) -> Reading:
        try:
            return read_network(self.module, self.example.shaped(shapes))
        except NetworkRefused as error:
            first = error.refusals[0]
            place = f" (at {first.place})" if first.path or first.source else ""
            raise NbqnnError(
                f"Input shape {_shown(shapes)} must fit the network: {first.reason}{place}"
            ) from None

    def _compare(self, reading: Reading) -> bool:
        """Whether ``reading`` is what was read, for other sizes."""
        old, new = self.reading, reading
        if len(old.operations) != len(new.operations) or not _same_outputs(old, new):
            return False
        old_sources = {operation.name: operation for operation in old.operations}
        new_sources = {operation.name: operation for operation in new.operations}
        for before, after in zip(old.operations, new.operations, strict=True):
            if before.kind != after.kind or before.inputs != after.inputs:
                return False
            if len(before.shape) == 3 and before.shape[0] != after.shape[0]:
                return False
            source = after.inputs[0] if after.inputs else after.name
            follows = before.covers(old_sources[source]) and after.covers(new_sources[source])
            if before.settings != after.settings:
                if not follows or before.name in self._constant:
                    return False
                self._following.add(before.name)
            elif before.kind in ("max_pool", "avg_pool") and not follows:
                if before.name in self._following:
                    return False
                self._constant.add(before.name)
        return True


def _same_outputs(old: Reading, new: Reading) -> bool:
    outlines = [[result.outline for result in one.results] for one in (old, new)]
    return old.outputs == new.outputs and outlines[0] == outlines[1]


def _shown(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " and ".join(str(shape) for shape in shapes)
