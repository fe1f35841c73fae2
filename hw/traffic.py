"""Bytes that a program moves between the host's memory and the chip, by layer."""

from bisect import bisect_left

from hw.isa import DESCRIPTOR_BYTES, Opcode, unpack
from hw.program import Program

__all__ = ["layer_bytes"]


def layer_bytes(program: Program) -> list[int]:
    """What each layer's loads and stores move; fetching commands is not counted.

    A load belongs to the layer of the first compute command that waits for it, a store to the one
    that it waits for itself; what is loaded for nothing but a store belongs to the first layer.
    """
    commands = [
        unpack(program.commands[at : at + DESCRIPTOR_BYTES])
        for at in range(0, len(program.commands), DESCRIPTOR_BYTES)
    ]
    computes = [fields for fields in commands if fields["opcode"] == Opcode.COMPUTE]
    # Loads that are complete before each compute command, which runs after those before it.
    complete = [fields["wait_load"] for fields in computes]
    for number in range(1, len(complete)):
        complete[number] = max(complete[number], complete[number - 1])
    moved = [0] * len(program.layers)
    loads = 0
    for fields in commands:
        if fields["opcode"] == Opcode.LOAD:
            loads += 1
            at = bisect_left(complete, loads)
            layer = computes[at]["layer"] if at < len(computes) else 0
        elif fields["opcode"] == Opcode.STORE:
            waits = fields["wait_compute"]
            layer = computes[waits - 1]["layer"] if waits else 0
        else:
            continue
        if moved:
            moved[layer] += fields["rows"] * fields["beats"] * program.config.axi_beat_bits // 8
    return moved
