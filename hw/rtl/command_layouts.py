"""Commands as Amaranth sees them: the field tables of :mod:`hw.contract.isa` as layouts."""

from amaranth.lib import data

from hw.contract.isa import BODIES, DRAIN_FIELDS, HEAD, Opcode

__all__ = ["body_layout", "drain_command_layout", "head_layout"]


def head_layout() -> data.StructLayout:
    return data.StructLayout(HEAD)


def body_layout(opcode: Opcode) -> data.StructLayout:
    return data.StructLayout(BODIES[opcode])


def drain_command_layout() -> data.StructLayout:
    return data.StructLayout({name: BODIES[Opcode.COMPUTE][name] for name in DRAIN_FIELDS})
