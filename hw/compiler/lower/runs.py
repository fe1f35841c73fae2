"""Positions of an axis in runs: outputs in even steps that read the input in even steps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hw.compiler.layer import Layer

__all__ = ["Run", "even_runs", "grid", "joined", "runs_of"]


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


def even_runs(windows: Iterable[tuple[int, int, object]]) -> Iterator[tuple[Run, object]]:
    """Runs of outputs that have the same kind of window, in even steps of any size.

    windows : (output, where its window begins, kind), in the order of the outputs.
    """
    by_kind: dict[object, list[tuple[int, int]]] = {}
    for out, first, kind in windows:
        by_kind.setdefault(kind, []).append((out, first))
    for kind, places in by_kind.items():
        while places:
            (out, first), *more = places
            step, stride = (more[0][0] - out, more[0][1] - first) if more else (1, 1)
            count = 1
            while count < len(places) and places[count] == (
                out + count * step,
                first + count * stride,
            ):
                count += 1
            yield Run(out, step, count, first, stride), kind
            places = places[count:]


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
