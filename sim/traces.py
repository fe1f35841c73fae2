"""Traces: which signals of which cycles are written to a file."""

from dataclasses import dataclass
from pathlib import Path

from hw.contract.program import Program
from hw.driver import RunResult
from nbqnn_train.graph import NbqnnError
from sim.bus import Trace
from sim.verilated.build import check_trace

__all__ = ["TraceRequest", "layer_span"]

#: Cycles added before and after a layer's span. Its first steps are before its time stamps.
_MARGIN = 50


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """A request for a file of signals: of a run or of one layer, of all cycles or of a span of
    them.

    cycles : first cycle and end of the span, counted from the beginning of the layer, or of the run
        if there is no layer.
    form : "vcd", "fst" or "saif".
    """

    path: Path
    form: str
    layer: str | None = None
    cycles: tuple[int, int] | None = None

    def check(self, program: Program) -> None:
        """Raises :exc:`NbqnnError` if the request cannot be met.

        That is so for an unknown layer, an empty span, a missing folder, or a form whose headers
        are not installed.
        """
        if not self.path.parent.is_dir():
            raise NbqnnError(f"file {str(self.path)!r} must be in a folder that exists")
        check_trace(self.form)
        names = [layer.name for layer in program.layers]
        if self.layer is not None and self.layer not in names:
            raise NbqnnError(f"layer must be one of {', '.join(names)}, not {self.layer!r}")
        if self.cycles is not None and not 0 <= self.cycles[0] < self.cycles[1]:
            raise NbqnnError(
                f"cycles must be A:B with 0 <= A < B, not {self.cycles[0]}:{self.cycles[1]}"
            )

    def trace(self, program: Program, result: RunResult) -> Trace:
        """The trace of a run that has the cycles of the run of ``result``."""
        begin, end = self.cycles or (0, None)
        if self.layer is not None:
            first, last = layer_span(program, result, self.layer)
            if self.cycles is None:
                begin, end = max(0, first - _MARGIN), last + _MARGIN
            else:
                begin, end = first + begin, first + end
        return Trace(path=self.path, form=self.form, begin=begin, end=end)


def layer_span(program: Program, result: RunResult, layer: str, number: int = 0) -> tuple[int, int]:
    """First cycle and end of a layer in the run: from the end of the layer before to its own.

    Of a layer in several strips it is from the first to the last one.

    For a name that is no layer of the program it is the whole run. ``number`` is the image in the
    batch.
    """
    end = 0
    spans = []
    for other, cycles in zip(program.layers, result.layer_cycles, strict=True):
        begin, end = end, end + cycles
        if other.name == layer and other.image in (number, None):
            spans.append((begin, end))
    return (spans[0][0], spans[-1][1]) if spans else (0, result.cycles)
