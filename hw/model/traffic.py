"""Bytes that a program moves between the host's memory and the chip, by layer."""

from hw.contract.isa import Load, Store, read_commands
from hw.contract.program import Program

__all__ = ["layer_bytes"]


def layer_bytes(program: Program) -> list[int]:
    """What each layer's loads and stores move. Fetching commands is not counted."""
    moved = [0] * len(program.layers)
    for command in read_commands(program.commands):
        if moved and isinstance(command, Load | Store):
            moved[command.layer] += command.rows * command.beats
    return [beats * program.config.axi_beat_bits // 8 for beats in moved]
