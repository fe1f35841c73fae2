"""Bytes that a program moves between the host's memory and the chip, by layer."""

from collections.abc import Iterable

import numpy as np

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Load, Store, read_commands
from hw.contract.memory_timing import MemoryTiming
from hw.contract.program import Program

__all__ = ["layer_bytes", "most_bytes_per_cycle", "moved_until"]


def layer_bytes(program: Program) -> list[int]:
    """Bytes that each layer's loads and stores move. The fetch of commands is not counted."""
    moved = [0] * len(program.layers)
    for command in read_commands(program.commands):
        if moved and isinstance(command, Load | Store):
            moved[command.layer] += command.rows * command.beats
    return [beats * program.config.axi_beat_bits // 8 for beats in moved]


def moved_until(times: np.ndarray, transfers: Iterable[tuple[float, float, int]]) -> np.ndarray:
    """Beats that have moved until each of the times, (N,). Each transfer has an even pace.

    transfers : (begin, end, beats).
    """
    moved = np.zeros(len(times))
    for begin, end, beats in transfers:
        moved += beats * np.clip((times - begin) / max(1.0, end - begin), 0.0, 1.0)
    return moved


def most_bytes_per_cycle(config: AcceleratorConfig, memory: MemoryTiming) -> float:
    """The most that memory and ports carry. A port carries a beat a cycle in each direction."""
    ports = 2 * config.axi_beat_bits / 8
    return min(memory.bytes_per_cycle or ports, ports)
