"""Which signals of which cycles go into a file."""

from dataclasses import dataclass
from pathlib import Path

from hw.contract.program import Program
from hw.driver import RunResult
from nbqnn_train.graph import NbqnnError
from sim.bus import Trace
from sim.verilated.build import check_trace

__all__ = ["TraceRequest", "layer_span"]

#: Cycles added around a layer's span: its first steps are before its own time stamps.
_MARGIN = 50


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """A file of signals: of the whole run or of one layer, of all cycles or of a span of them.

    cycles : first cycle and end of the span, counted from the beginning of the run, or of the layer
        if there is one.
    form : "vcd", "fst" or "saif".
    """

    path: Path
    form: str
    layer: str | None = None
    cycles: tuple[int, int] | None = None

    def check(self, program: Program) -> None:
        """Raises :exc:`NbqnnError` for what cannot be traced.

        That is an unknown layer, an empty span, a missing folder, or a form that lacks headers
        here.
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
        """What to trace in a run that goes like the one of ``result``."""
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

    It is the whole run for what is no layer of the program. ``number`` is the image in the batch.
    """
    end = 0
    for other, cycles in zip(program.layers, result.layer_cycles, strict=True):
        begin, end = end, end + cycles
        if other.name == layer and other.image in (number, None):
            return begin, end
    return 0, result.cycles
