"""Positions of an axis in runs: outputs in even steps that read the input in even steps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hw.compiler.layer import Layer

__all__ = ["Run", "grid", "joined", "runs_of"]


@dataclass(frozen=True)
class Run:
    """``count`` outputs, from ``out`` on with a step; the window of the first begins at ``first``.

    step : from output to output.
    stride : from window to window; may be zero or negative.
    """

    out: int
    step: int
    count: int
    first: int
    stride: int


def runs_of(
    windows: Iterable[tuple[int, int, object]], step: int = 1
) -> Iterator[tuple[Run, object]]:
    """Runs of outputs that have the same kind of window, and that kind.

    windows : (output, where its window begins, kind); the outputs are ``step`` apart.
    """
    run, of_kind = None, None
    for out, first, kind in windows:
        if run is not None and kind == of_kind:
            stride = first - run.first if run.count == 1 else run.stride
            if first == run.first + run.count * stride:
                run = Run(run.out, step, run.count + 1, run.first, stride)
                continue
        if run is not None:
            yield run, of_kind
        run, of_kind = Run(out, step, 1, first, 1), kind
    if run is not None:
        yield run, of_kind


def grid(channels: int, rows: Run, columns: Run) -> dict:
    """The fields of a layer's part that computes these rows and columns."""
    return {
        "out_shape": (channels, rows.count, columns.count),
        "out_first": (rows.out, columns.out),
        "out_step": (rows.step, columns.step),
        "padding": (-rows.first, -columns.first, 0, 0),
        "stride": (rows.stride, columns.stride),
    }


def joined(parts: Iterable[Layer]) -> Layer:
    """One layer of several parts."""
    first, *more = parts
    macs = first.macs + sum(part.macs for part in more)
    return replace(first, macs=macs, more=tuple(replace(part, macs=0) for part in more))
