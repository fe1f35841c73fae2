"""Decides which tensors are made and read strip by strip, and in how many strips."""

from hw.compiler.costs import command_cycles, compute_cycles, weight_cycles
from hw.compiler.fused import brought_operands, fused, joined_by
from hw.compiler.layer import Lowered
from hw.compiler.placement import Tight
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Memory
from hw.contract.registers import LAYERS
from hw.contract.words import word_beats
from nbqnn_train.graph import Graph

__all__ = ["Strips"]

#: Cycles that strips must save: the weights of the layer behind them come later.
_LEAST_SAVED = 3000
#: Cycles that a store waits for a bank, at most.
_MOST_TURNS = 4
#: One in so many cycles of a transfer is not hidden behind computation.
_SEEN = 4


class Strips:
    """Tensors that are cut into strips, each into a number of them.

    counting : whether the fetch of strips' commands counts. It may be hidden behind computation, or
        be what a narrow bus does for most of the time.
    settled : concatenations whose strips are loaded as they come, because more strips do not pay.
    doubted : whether anything was decided otherwise than it would be if that were the other way.
    """

    def __init__(self, config: AcceleratorConfig, graph: Graph, counting: bool):
        self.config = config
        self.graph = graph
        self.counting = counting
        self.doubted = False
        self.settled: frozenset[str] = frozenset()
        self._counts: dict[str, int] = {}
        #: Tensors that were cut, until that took longer.
        self._whole: set[str] = set()

    def cut(self, lowered: Lowered) -> Lowered:
        """The layers around them in strips."""
        return fused(self.config, lowered, self._counts)

    def drop(self, name: str) -> None:
        """It goes to the host's memory as a whole."""
        self._counts.pop(name, None)

    def add(self, lowered: Lowered, name: str) -> bool:
        """Cuts a tensor into twice as many strips, if that takes less time than to move it."""
        more = {**self._counts, name: 2 * self._counts.get(name, 1)}
        if name in self._whole or not self._pays(lowered, more, name):
            return False
        self._take(lowered, more, name)
        return True

    def tighten(self, lowered: Lowered, tight: Tight) -> str | None:
        """Makes room to load the strips of a concatenation ahead of use.

        It is cut into twice as many, or another tensor goes to the host's memory: the name of that
        one is returned. If both take longer than the loads, the concatenation is settled.
        """
        name = tight.root
        more = {**self._counts, name: 2 * self._counts[name]}
        moved = tight.cycles
        cuts = (tight.cycles,) * 2
        if self._pays(lowered, more, name):
            cuts = self._lost(lowered, more, self._counts)
        # What has views cannot be stored as a whole.
        viewed = {view.root for view in lowered.views.values()}
        if tight.largest is not None and tight.largest not in viewed:
            moved = self._moved(lowered, tight.largest)
        if self._chosen([min(cut, moved) >= tight.cycles for cut in cuts]):
            self.settled |= {name}
        elif self._chosen([cut <= moved for cut in cuts]):
            self._take(lowered, more, name)
        else:
            return tight.largest
        return None

    def _take(self, lowered: Lowered, counts: dict[str, int], name: str) -> None:
        self._counts = counts
        # What is stored for a concatenation may be in strips, too.
        for other in brought_operands(lowered, name):
            more = {**self._counts, other: self._counts.get(other, 2)}
            if other not in self._whole and self._pays(lowered, more, other):
                self._counts = more
        # More strips of one tensor are more of those that are cut with it.
        for other in [other for other in self._counts if other != name]:
            if not self._pays(lowered, self._counts, other):
                del self._counts[other]
                self._whole.add(other)

    def _pays(self, lowered: Lowered, counts: dict[str, int], name: str) -> bool:
        """Whether to make and read a tensor strip by strip takes less time than to move it.

        Each strip loads the weights and computes some rows again that the one before has computed.
        The way through the host's memory may be hidden behind the computation.
        """
        config, outputs = self.config, map(lowered.memory_of, self.graph.outputs)
        if name not in lowered.shapes or name in outputs:
            return False
        between = joined_by(config, lowered, counts, name)
        if between is None:
            return False
        writer, _ = between
        if len(fused(config, lowered, counts).layers) > LAYERS:
            return False
        waits = self._moved(lowered, name)
        if writer.target != name:
            # Without strips a layer of its own copies the operands of a concatenation.
            waits += 2 * self._words(lowered, name) * word_beats(config, Memory.ACT)
        others = {other: count for other, count in counts.items() if other != name}
        lost = self._lost(lowered, counts, others)
        return self._chosen([waits - cycles > _LEAST_SAVED for cycles in lost])

    def _chosen(self, answers: list[bool]) -> bool:
        """The answer where the fetch of commands does not count, or that where it does."""
        self.doubted |= answers[0] != answers[1]
        return answers[self.counting]

    def _moved(self, lowered: Lowered, name: str) -> float:
        """Cycles in which the array waits for a tensor to go to the host's memory and back."""
        config, words = self.config, self._words(lowered, name)
        beats = word_beats(config, Memory.ACT)
        # A store uses the banks that the array leaves free.
        free = max(config.banks // _MOST_TURNS, config.banks - config.pixels)
        loaded, stored = words * beats, words * max(beats, config.banks / free)
        # Not all is hidden behind computation, because other maps move, too.
        waits = (stored + loaded) / _SEEN
        # A layer is that of one image.
        stored, loaded = stored / lowered.batch, loaded / lowered.batch
        for layer in lowered.layers:
            if layer.target == name:
                waits += max(0, stored - compute_cycles(config, layer))
            if name in layer.sources:
                waits += max(0, loaded - compute_cycles(config, layer))
        return waits

    def _words(self, lowered: Lowered, name: str) -> int:
        """A tensor's words."""
        channels, height, width = lowered.shapes[name]
        return -(-channels // self.config.lanes) * height * width

    def _lost(
        self, lowered: Lowered, counts: dict[str, int], before: dict[str, int]
    ) -> tuple[int, int]:
        """Cycles that more strips take, without and with the fetch of commands."""
        lost = fetch = 0
        for sign, strips in ((1, counts), (-1, before)):
            for layer in fused(self.config, lowered, strips).layers:
                cycles = compute_cycles(self.config, layer) + weight_cycles(self.config, layer)
                lost += sign * cycles
                fetch += sign * command_cycles(self.config, layer)
        return lost, lost + fetch
