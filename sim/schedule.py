"""When the engines worked for each layer, from what was seen of a run on the RTL."""

from collections.abc import Iterator, Sequence

import numpy as np

from hw.contract.isa import DESCRIPTOR_BYTES, Opcode, read_commands
from hw.contract.program import Program
from sim.watch import Watched

__all__ = ["layer_windows"]


def layer_windows(
    program: Program, seen: Watched, steps: Sequence[int], ends: Sequence[int]
) -> list[dict[str, tuple[int, int]]]:
    """For each layer: engine -> begin and end of its work for the layer, in cycles of the run.

    ``steps`` are the array's steps of each layer, ``ends`` the cycles at which the layers ended.

    - "load": from the first address that is asked for to the last beat that comes;
    - "compute": from the layer's first step, known to a few cycles (to one in some thousands of a
      long run), to its end;
    - "store": from the first address to the last response.

    Commands are carried out in their order, so a burst's place in the order says whose it is.
    """
    windows: list[dict[str, tuple[int, int]]] = [{} for _ in ends]
    for opcode in (Opcode.LOAD, Opcode.STORE):
        for layer, begin, end in _transfers(program, seen, opcode):
            first, last = windows[layer].get(opcode.name.lower(), (begin, end))
            windows[layer][opcode.name.lower()] = min(first, begin), max(last, end)
    for layer, (begin, end) in enumerate(zip(_first_steps(seen, steps), ends, strict=True)):
        if steps[layer]:
            windows[layer]["compute"] = min(begin, end), end
    return windows


def _transfers(program: Program, seen: Watched, opcode: Opcode) -> Iterator[tuple[int, int, int]]:
    """(layer, begin, end) of each load or store."""
    bursts = seen.bursts[seen.bursts["writes"] == (opcode is Opcode.STORE)]
    if opcode is Opcode.LOAD:
        length = program.command_count * DESCRIPTOR_BYTES // program.config.axi_ports
        place = bursts["address"].astype(np.int64) - seen.program
        bursts = bursts[(place < 0) | (place >= length)]
    commands = [one for one in read_commands(program.commands) if one.opcode is opcode]
    # Beats of the bursts up to each; beats of the commands up to each.
    came = np.cumsum(bursts["beats"].astype(np.int64))
    asked = np.cumsum([one.rows * one.beats for one in commands], dtype=np.int64)
    last = np.searchsorted(came, asked)
    first = np.concatenate([[0], last[:-1] + 1])
    for command, one, other in zip(commands, first, last, strict=True):
        if other < len(bursts):
            yield command.layer, int(bursts["begin"][one]), int(bursts["end"][other])


def _first_steps(seen: Watched, steps: Sequence[int]) -> list[int]:
    """The cycle of each layer's first step: the array takes at most one a cycle."""
    before = np.concatenate([[0], np.cumsum(steps)[:-1]]).astype(np.int64)
    cycles, taken = seen.steps[:, 0], seen.steps[:, 1]
    after = np.minimum(np.searchsorted(taken, before, side="right"), len(cycles) - 1)
    earlier = np.where(after > 0, cycles[np.maximum(after - 1, 0)], 0)
    return np.maximum(cycles[after] - (taken[after] - before), earlier).tolist()
