"""Watches a run of the Verilated accelerator from outside: its bursts, and its counter of steps."""

from dataclasses import dataclass

import numpy as np

from hw.contract.registers import REGISTERS
from sim.verilated import VerilatedAccelerator

__all__ = ["Watched", "watch"]

#: Most values of the counter that are kept; then every second one is dropped.
_MOST_SAMPLES = 8192


@dataclass(frozen=True, eq=False)
class Watched:
    """What was seen of one run. Cycles are those of the register ``cycles``.

    bursts : of the first port, of type :data:`sim.verilated.accelerator.BURSTS`.
    steps : (n, 2), int64; at a cycle, the steps that the array had taken.
    program : address of the first descriptor.
    """

    bursts: np.ndarray
    steps: np.ndarray
    program: int


def watch(model: VerilatedAccelerator, max_cycles: int) -> Watched:
    """Lets a run that was just started go on, until the interrupt or for ``max_cycles`` cycles.

    It reads registers on the way, which takes nothing from the run: its cycles are as without.
    """
    model.keep_bursts()
    started = model.read(REGISTERS.cycles.offset)
    # A read takes as long every time, so this holds for the values of the counter too.
    origin = model.cycles - started
    samples, interval = [], 1
    while not model.irq and model.cycles - origin < max_cycles:
        model.run(interval)
        steps = model.read(REGISTERS.array_cycles.offset)
        samples.append((model.cycles - origin, steps))
        if len(samples) == _MOST_SAMPLES:
            samples, interval = samples[1::2], 2 * interval + 4
    base = REGISTERS.program_base_low.offset
    bursts = model.bursts.copy()
    for name in ("begin", "end"):
        bursts[name] = np.maximum(bursts[name].astype(np.int64) - origin, 0)
    return Watched(
        bursts=bursts,
        steps=np.array(samples, np.int64).reshape(-1, 2),
        program=model.read(base) | model.read(base + 4) << 32,
    )
