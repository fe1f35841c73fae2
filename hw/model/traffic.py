"""Bytes that a program moves between the host's memory and the chip, by layer."""

from hw.contract.isa import DESCRIPTOR_BYTES, Opcode, unpack
from hw.contract.program import Program

__all__ = ["layer_bytes"]


def layer_bytes(program: Program) -> list[int]:
    """What each layer's loads and stores move; fetching commands is not counted."""
    moved = [0] * len(program.layers)
    for at in range(0, len(program.commands), DESCRIPTOR_BYTES):
        fields = unpack(program.commands[at : at + DESCRIPTOR_BYTES])
        if moved and fields["opcode"] in (Opcode.LOAD, Opcode.STORE):
            moved[fields["layer"]] += fields["rows"] * fields["beats"]
    return [beats * program.config.axi_beat_bits // 8 for beats in moved]
