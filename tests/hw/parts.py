"""Components beside each other in one top module: one simulator build for all their cases."""

from collections.abc import Mapping

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.rtl.component import Component

__all__ = ["Parts"]


class Parts(Component):
    """Port ``PORT`` of part ``NAME`` becomes port ``NAME_PORT``; no part knows of the others."""

    module_name = ""

    def __init__(self, module_name: str, parts: Mapping[str, Component]):
        self.module_name = module_name
        self.parts = parts
        super().__init__({
            f"{name}_{port}": member
            for name, part in parts.items()
            for port, member in part.signature.members.items()
        })  # fmt: skip

    def build(self):
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            for port, member in part.signature.members.items():
                outer, inner = getattr(self, f"{name}_{port}"), getattr(part, port)
                if member.is_signature:
                    wiring.connect(m, wiring.flipped(outer), inner)
                else:
                    m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m
